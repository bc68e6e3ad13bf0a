"""Repositories of git: mirrors of what is followed, and folders with the files of a commit."""
