"""Does this installation find what is there and catch planted faults, and is this home whole?"""
