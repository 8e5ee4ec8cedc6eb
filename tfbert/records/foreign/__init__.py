"""Records of other programs: Google's and NVIDIA's TensorFlow scripts, and the Model Garden's.

`dataset` describes files of them as `tfbert prepare` describes its own; `examples` reads them.
"""
