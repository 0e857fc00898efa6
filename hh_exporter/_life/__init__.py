"""
Event loops, forks, signals and the end of the process.

Keeps one worker in a loop that runs. Whatever ends, what is left is sent, spooled or reported.

Others use `blocking.BlockingMethods`, `books.read_books`, `books.read_health`, `callbacks.weakly`,
`endings.see_to_the_end`, `entering.enter`, `forks.in_child`, `lifetime.Lifetime`,
`loops.find_loop`, `methods.LifeMethods` and `single.deliver_one`.
"""
