"""A thread that runs tasks one at a time."""

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import ParamSpec, TypeVar

from ..errors import JobError

P = ParamSpec("P")
T = TypeVar("T")


class TaskThread:
    """Run tasks in one thread, in order of submission.

    Every method can be called from any thread. A task that calls methods of its own thread runs them at once, so that
    a long task (for example a loop over a job queue) can occupy it and submit further ones.
    The thread is a daemon: it does not keep the process alive. It ends with `close`, or when this object is
    garbage collected.
    """

    def __init__(self, name: str) -> None:
        """Start the thread.

        Args:
            name: What the thread is, for error messages and debuggers.
        """
        self._name = name
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=_run_tasks, args=(self._tasks,), name=name.replace(" ", "-"), daemon=True)
        self._thread.start()
        self._closed = False
        weakref.finalize(self, self._tasks.put, None)

    def submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue a task and return at once.

        Args:
            task: Function to call in the thread.
            *args: Positional arguments of the function.
            **kwargs: Keyword arguments of the function.

        Returns:
            A future of the function's result, or of the exception that it raised.

        Raises:
            JobError: The thread is closed.
        """
        if self._closed:
            raise JobError(f"This {self._name} is closed; create another one.")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(task(*args, **kwargs))
            # Every error belongs to the caller; the thread goes on with the next task.
            except BaseException as error:
                future.set_exception(error)

        self._tasks.put(run)
        return future

    def run(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the thread and wait for its result.

        Called from this thread itself, it calls the function directly. Errors of the function are raised here.
        Arguments and `JobError` as for `submit`.
        """
        if current_thread() is self._thread:
            return task(*args, **kwargs)
        return self.submit(task, *args, **kwargs).result()

    def close(self, timeout: float | None = None) -> None:
        """Refuse new tasks, wait until the submitted ones are done, and end the thread.

        Args:
            timeout: Largest number of seconds to wait; None for no limit.
        """
        self._closed = True
        self._tasks.put(None)
        self._thread.join(timeout)


def _run_tasks(tasks: "SimpleQueue[Callable[[], None] | None]") -> None:
    """Run tasks until None. Takes no reference to the owner, which could not be collected otherwise."""
    while (task := tasks.get()) is not None:
        task()
        # A task refers to its owner, and the name would keep it alive until the next task.
        del task
