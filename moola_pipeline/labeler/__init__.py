"""The labeler: windows of bars on a page, marked by an annotator; each action is on disk before it shows."""
