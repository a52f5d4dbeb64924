"""Which of the two decides how quickly a network learns?"""
