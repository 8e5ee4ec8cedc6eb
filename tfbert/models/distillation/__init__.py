"""Learning from a larger model: the teacher, what the student's distance from it is, the student.

Distillation of hidden states and sentence vectors (Sanh et al. 2019; Jiao et al. 2020, equation 8;
Reimers & Gurevych 2020). May import what `models/` may.
"""
