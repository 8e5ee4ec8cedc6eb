"""What a pre-training would take on some hardware: operations, memory, time and money, in a second.

May import everything but `cli`; imports no TensorFlow.
"""
