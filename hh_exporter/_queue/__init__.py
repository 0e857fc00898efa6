"""
What waits in memory, its budget, and the books.

One lock guards all of it; nobody encodes, awaits or calls user code under it.

Others use `copying.CopyingQueue`, `followed.Followed`, `packing.Job`, `queue.RecordQueue` and
`watches.Watch`.
"""
