"""Who is abandoned at the paper's own size?"""
