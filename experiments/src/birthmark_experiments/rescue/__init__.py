"""Interventions at the onset of abandoning: which of them saves the network?"""
