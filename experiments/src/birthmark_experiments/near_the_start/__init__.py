"""Are minima found only near the start?"""
