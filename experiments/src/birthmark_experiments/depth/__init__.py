"""Thirty ReLU layers: which initialization keeps the signal, and which one learns?"""
