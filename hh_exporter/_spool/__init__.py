"""
What waits on disk, and dead letters.

Only one thread touches the files; everything else hands it work and goes on.

Others use `file.SpoolFile`, `kept.Identity`, `kept.Letter`, `kept.Match`, `notes.peek`,
`place.is_held`, `place.last_change`, `place.list_aside`, `place.list_files`,
`place.remove_aside`, `seals.find_difference` and `spooler.Spooler`.
"""
