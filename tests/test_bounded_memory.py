"""The limit on memory where several ask for one."""
import os
import resource
import threading

import pytest

from scene_qformer.bounded_memory import bounded_memory


@pytest.fixture(autouse=True)
def before():
    """The limit of this process, whatever a test leaves."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    yield limits
    resource.setrlimit(resource.RLIMIT_AS, limits)


def test_threads_give_back_what_was_there_before(before):
    """The first leaves while the second is inside, or waits for it."""
    first_inside, second_inside = threading.Event(), threading.Event()

    def first():
        with bounded_memory(1000):
            first_inside.set()
            second_inside.wait(0.5)

    def second():
        first_inside.wait()
        with bounded_memory(1000):
            second_inside.set()
            threads[0].join(0.5)

    threads = [threading.Thread(target=function) for function in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert second_inside.is_set() and resource.getrlimit(resource.RLIMIT_AS) == before


def test_one_inside_another(before):
    with bounded_memory(1 << 40):
        outer = resource.getrlimit(resource.RLIMIT_AS)
        with bounded_memory(1000):
            assert resource.getrlimit(resource.RLIMIT_AS)[0] < outer[0]
        assert resource.getrlimit(resource.RLIMIT_AS) == outer
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_process_that_is_forked_meanwhile_is_free(before):
    """As a loader's worker, while another thread reads a file."""
    inside, done = threading.Event(), threading.Event()

    def read():
        with bounded_memory(1000):
            inside.set()
            done.wait()

    thread = threading.Thread(target=read)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        answer = 1
        if resource.getrlimit(resource.RLIMIT_AS) == before:
            with bounded_memory(1000):  # it would wait for ever
                answer = 0
        os._exit(answer)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
