"""What has a name is opened here and nowhere else: detectors, frames, attacks, defences and their settings.

Names come from outside: the command line, files, worker processes. Inside, classes are imported.
"""
