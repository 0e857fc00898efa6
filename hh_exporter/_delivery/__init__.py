"""
From records that wait to outcomes: batches, attempts, verdicts.

Decisions are plain code without clock or task, and waiting is a thin shell around them. Each
record leaves the wing exactly once, settled or given back to the queue.

Others use `batcher.Batcher`, `breaker.Breaker`, `delivery.Deliverer`, `limiter.Limiter`,
`origin.Refill`, `packer.Packer`, `picking.Picker`, `probing.Prober`, `recovery.Recovery`,
`settler.Settler`, `shipping.Shipper`, `slots.Slots`, `worker.LAST_CALL` and `worker.Worker`.
"""
