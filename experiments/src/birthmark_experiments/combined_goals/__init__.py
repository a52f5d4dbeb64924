"""Can the goals of a good start be combined, and does that make learning faster?"""
