"""Is a pre-trained network an initialization?"""
