"""`tfbert tpu-check`: does a recipe's training step compile for a TPU, and does it fit?"""
