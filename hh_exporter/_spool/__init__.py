"""
What waits on disk, and dead letters.

Only one thread touches the files; everything else hands it work and goes on.

Others use `file.SpoolFile`, `kept.Identity`, `kept.Letter`, `kept.Match`, `place.ASIDE`,
`place.SUFFIX`, `place.is_held`, `place.list_files`, `schema.find_difference` and
`spooler.Spooler`.
"""
