"""Clips from wide to none: does the onset of abandoning follow the clip?"""
