"""Is it leaving the start that loses a network?"""
