"""Why random, and not one number everywhere?"""
