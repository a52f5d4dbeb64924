"""Is the untrainability regime the edge of stability of a white background?"""
