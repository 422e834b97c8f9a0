"""What becomes of jobs when nodes, relays and networks are lost. n1: home of all jobs; n2 and n3: where they run.

   unshare -m --propagation unchanged -n -p -f --kill-child python3 lost.py BUILD [NAME PART]
"""
import glob, os, re, signal, subprocess, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from grid import UID, SESSION, Control, Terminal, build_grid, session, start
from harness import Skip, equal, processes, run, test, wait_until

n1, n2, n3 = build_grid(sys.argv[1], 3)
HOME = '/home/alice'


def far(*argv, **options):
    return session(n1, ['xrun', '--node', 'n2', *argv], **options)


def cut(node, state='down'):
    subprocess.run(['nsenter', '-t', str(node.holder), '-n', 'ip', 'link', 'set', f'v{node.name[1:]}', state], check=True)


def prefer(*order):
    """Jobs go to the first of these nodes that takes them."""
    nodes = [{'node': node.name, 'cpus': 64 >> (3 * at), 'running': 64 if node is n1 else 0, 'load': 0, 'memory_free_bytes': 1 << 30, 'eligible': True} for at, node in enumerate(order)]
    equal(n1.control.call('placement', nodes=nodes)['ok'], True)


def jobs():
    return {job['job']: job for job in n1.control.call('jobs')['jobs']}


def newest():
    return max(jobs(), key=lambda job: int(job.split('-')[1]))


class Asking:
    """A request to n1's relay on a connection of its own: `answer` is None until it has come."""

    def __init__(self, op, **fields):
        self.answer, self.relay = None, Control(f'/proc/{n1.holder}/root/run/xos/relayd.ctl')
        self.relay.socket.settimeout(120)
        self.thread = threading.Thread(target=self.ask, args=(op, fields))
        self.thread.start()

    def ask(self, op, fields):
        self.answer = self.relay.call(op, **fields)

    def result(self):
        self.thread.join()
        return self.answer


def keep(job, number=1, **options):
    """As xosd does with protected jobs."""
    done = n1.control.call('checkpoint', job=job, uid=0, directory=f'{HOME}/kept-{job}-{number}', leave_running=True, protect=True, **options)
    if not done['ok'] and 'mountpoint' in done['error']['message']:
        raise Skip('CRIU cannot work in a chroot')
    equal(done['ok'], True, done)


# Counts until the file `enough` is there. Notes (links: nothing is open) when it was first and last alive in each network, which is to say on each node.
COUNT = """
import os, sys, time
tag, size = sys.argv[1], int(sys.argv[2])
ballast, n = os.urandom(size), 0
while not os.path.exists('enough'):
  n += 1
  print(n, flush=True)
  place = tag + '-' + os.readlink('/proc/self/ns/net').strip('net:[]')
  for name in ['last-' + place] + ([] if os.path.lexists('first-' + place) else ['first-' + place]):
    os.symlink(repr(time.time()), 'new-' + place); os.rename('new-' + place, name)
  time.sleep(0.05)
print('end', flush=True)
sys.exit(7)
"""
READ = """
import sys
for line in sys.stdin: print(line.strip(), flush=True)
sys.exit(6)
"""


class Counter:
    """A protected job that counts, begun on a node."""

    def __init__(self, node, tag, size=0):
        self.tag, self.path = tag, f'{HOME}/{tag}.txt'
        self.process = start(n1, ['xrun', '--node', node.name, '--protect=10s', 'python3', '-c', COUNT, tag, str(size)], stdin=subprocess.DEVNULL, stdout=open(self.path, 'wb'), stderr=subprocess.PIPE)
        assert wait_until(lambda: self.numbers()), 'it does not begin'
        self.job = newest()

    def numbers(self):
        return [int(line) for line in open(self.path).read().split('\n')[:-1] if line.isdigit()]

    def goes_on(self):
        had = len(self.numbers())
        return wait_until(lambda: len(self.numbers()) > had + 2)

    def check(self, times=1, nodes=None):
        """Ended well, after it went back at most `times` times, each time not to its beginning, and was on so many nodes, never on two at one time."""
        equal(self.process.wait(30), 7, self.tag)
        numbers, back = self.numbers(), 0
        equal(numbers[0], 1)
        for before, number in zip(numbers, numbers[1:]):
            assert 1 < number <= before + 1, (self.tag, before, number)
            back += number != before + 1
        assert back <= times, (self.tag, numbers)
        assert open(self.path).read().endswith('\nend\n')
        alive = sorted((float(os.readlink(first)), float(os.readlink(first.replace('first-', 'last-')))) for first in glob.glob(f'{HOME}/first-{self.tag}-*'))
        equal(len(alive), nodes or times + 1, f'nodes of {self.tag}')
        for (_, last), (first, _) in zip(alive, alive[1:]):
            assert last < first, f'{self.tag} was alive on one node until {last}, on the next from {first} on'
        return self.process.stderr.read().decode()


def enough():
    open(f'{HOME}/enough', 'w').close()


@test('when a node is cut off its jobs end there and its protected ones go on elsewhere: one copy at a time, with proxy, output, input and terminal')
def _():
    prefer(n3, n2, n1)
    plain, moved, kept_twice = Counter(n2, 'plain'), Counter(n3, 'moved'), Counter(n2, 'twice', 64 << 20)
    gone, stray = Counter(n2, 'gone'), Counter(n2, 'stray')
    reads, feed = os.pipe()
    reader = start(n1, ['xrun', '--node', 'n2', '--protect=10s', 'python3', '-c', READ], stdin=reads, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(reads)
    os.write(feed, b'1\n2\n3\n')
    equal([reader.stdout.readline() for _ in range(3)], ['1\n', '2\n', '3\n'])
    reader_job = newest()
    typist, stopper = Terminal(n1, ['/home/bin/bash', '--norc', '-i']), Terminal(n1, ['/home/bin/bash', '--norc', '-i'])
    for terminal in (typist, stopper):
        terminal.expect('$ ')
        terminal.send('xrun --node n2 --protect=10s python3 -c "while True: print(\'got\', input(\'> \'))"\n')
        terminal.expect('> ')
        terminal.send('one\n')
        terminal.expect('got one')
        terminal.job = newest()
    for job in (plain.job, moved.job, kept_twice.job, gone.job, stray.job, reader_job, typist.job, stopper.job):
        keep(job)
    unprotected = start(n1, ['xrun', '--node', 'n2', 'sleep', '1012'], stderr=subprocess.PIPE)
    assert wait_until(lambda: len(processes('sleep 1012')) >= 2)
    # One has changed nodes since; its checkpoint is of the node before.
    equal(n1.control.call('migrate', job=moved.job, uid=UID, node='n2', directory=f'{HOME}/moving')['ok'], True)
    assert moved.goes_on()
    for link in glob.glob(f'{HOME}/*-moved-*'):
        os.unlink(link)  # it will be on n3 once more
    os.write(feed, b'4\n5\n')
    equal([reader.stdout.readline() for _ in range(2)], ['4\n', '5\n'])

    # n2 is cut off in the middle of a checkpoint, which never comes to be.
    asking = Asking('checkpoint', job=kept_twice.job, uid=0, directory=f'{HOME}/kept-{kept_twice.job}-2', leave_running=True, protect=True)
    cut(n2)
    assert wait_until(lambda: jobs()[plain.job]['state'] == 'recovering'), jobs()
    answer = asking.result()
    assert answer['ok'] or answer['error']['code'] == 'XOS_JOB_LOST', answer

    equal(unprotected.wait(30), 137)
    assert b"node 'n2' that ran 'sleep'" in unprotected.stderr.read()

    # Nothing can be done to it meanwhile that would make a second one of it.
    for op, fields in (('migrate', {'node': 'n3', 'directory': f'{HOME}/moving'}), ('checkpoint', {'directory': f'{HOME}/other', 'leave_running': False}),
                       ('restore', {'directory': f'{HOME}/kept-{plain.job}-1', 'session': SESSION, 'node': 'n3'})):
        done = n1.control.call(op, job=plain.job, uid=UID, **fields)
        assert not done['ok'] and 'recovering' in done['error']['message'], done
    # Its user decides about it as ever.
    typist.expect("goes on elsewhere in")
    typist.send('\x1a')
    typist.expect('Stopped')
    typist.send('fg\n')
    typist.expect('xrun')
    typist.send('ahead\n')
    stopper.expect("goes on elsewhere in")
    stopper.send('\x03')
    stopper.expect('$ ')
    stopper.send('echo st""atus $?\n')
    stopper.expect('status 130')
    gone.process.kill()
    equal(n1.control.call('signal', job=stray.job, uid=UID, signal=signal.SIGTERM)['ok'], True)
    equal(stray.process.wait(30), -signal.SIGTERM)
    os.write(feed, b'6\n')
    states = jobs()
    equal([states[job]['state'] for job in (gone.job, stray.job, stopper.job)], ['ended'] * 3)

    assert wait_until(lambda: all(jobs()[job]['state'] == 'running' for job in (plain.job, moved.job, kept_twice.job, reader_job, typist.job)), 60), jobs()
    states = jobs()
    equal({states[job]['node'] for job in (plain.job, moved.job, kept_twice.job, reader_job, typist.job)}, {'n3'})
    typist.expect("goes on on node 'n3'")
    typist.expect('got ahead')
    os.write(feed, b'7\n')
    os.close(feed)
    output, errors = reader.communicate(timeout=30)
    equal((output, reader.returncode), ('4\n5\n6\n7\n', 6))
    assert re.fullmatch(r"xos: node 'n2' was lost; 'python3' \(job n1-\d+\) goes on elsewhere in \d+ s, from its checkpoint of \d\d:\d\d:\d\d\nxos: 'python3' \(job n1-\d+\) goes on on node 'n3'\n", errors), errors
    assert all(each.goes_on() for each in (plain, moved, kept_twice))

    # The next one dies as well, at once this time.
    if os.environ.get('XOS_ROUNDS'):
        n3.relay.kill()
        n3.relay.wait()
        assert wait_until(lambda: all(jobs()[each.job]['state'] == 'running' and jobs()[each.job]['node'] == 'n1' for each in (plain, moved, kept_twice)), 60), jobs()
        assert all(each.goes_on() for each in (plain, moved, kept_twice))
    enough()
    again = 1 if os.environ.get('XOS_ROUNDS') else 0
    plain.check(1 + again), moved.check(1 + again), kept_twice.check(1 + again)
    for process in (gone.process, stray.process):
        process.wait(30)
    for terminal in (typist, stopper):
        terminal.end()
    assert wait_until(lambda: not processes('python3 -c') and not processes('sleep 1012'), 60), 'a copy is left'
    os.unlink(f'{HOME}/enough')
    cut(n2, 'up')
    if again:
        n3.start()
        n3.join([n1, n2, n3], 'n1')
    assert wait_until(lambda: far('/bin/true').returncode == 0, 40)


@test('a protected job whose old or new node is lost in the middle of a move goes on, once')
def _():
    if not os.environ.get('XOS_ROUNDS'):
        raise Skip('takes a minute: with XOS_ROUNDS')
    prefer(n3, n2, n1)
    for turn in range(int(os.environ['XOS_ROUNDS'])):
        victim, moment = (n2, 'checkpointing') if turn % 2 == 0 else (n3, 'restoring')
        counter = Counter(n2, f'turn{turn}', 128 << 20)
        keep(counter.job)
        moving = Asking('migrate', job=counter.job, uid=UID, node='n3', directory=f'{HOME}/moving-{counter.job}')
        assert wait_until(lambda: jobs()[counter.job]['state'] == moment), (moving.answer, jobs())
        time.sleep(0.02 * (turn // 2))
        victim.relay.kill()
        victim.relay.wait()
        moving.result()
        assert wait_until(lambda: jobs()[counter.job]['state'] == 'running', 90), jobs()
        assert counter.goes_on()
        nodes = len(glob.glob(f'{HOME}/first-{counter.tag}-*'))
        enough()
        print('    ', victim.name, moment, 'it went on on', jobs()[counter.job]['node'], f'and was on {nodes} nodes')
        counter.check(2, nodes)
        os.unlink(f'{HOME}/enough')
        victim.start()
        victim.join([n1, n2, n3], 'n1')
        assert wait_until(lambda: session(n1, ['xrun', '--node', victim.name, '/bin/true']).returncode == 0)
        prefer(n3, n2, n1)


@test('a job is moved to, and restarted on, a node that has not heard of its session yet, once that has')
def _():
    n3.control.call('session-remove', session=SESSION, reason='test', kill=False)
    n1.join([n1, n2, n3], 'n1')  # as a login does
    moved, back = Counter(n2, 'early'), Counter(n2, 'back')
    stored = f'{HOME}/stored-{back.job}'
    equal(n1.control.call('checkpoint', job=back.job, uid=UID, directory=stored, leave_running=False)['ok'], True)
    early = [Asking('migrate', job=moved.job, uid=UID, node='n3', directory=f'{HOME}/moving-{moved.job}'), Asking('restore', job=back.job, uid=UID, node='n3', directory=stored, session=SESSION)]
    time.sleep(2.5)  # refused there, more than once
    equal([each.answer for each in early], [None, None])
    assert moved.goes_on()
    n3.join([n1, n2, n3], 'n1')
    equal([(each.result()['ok'], jobs()[job]['node']) for each, job in zip(early, (moved.job, back.job))], [(True, 'n3')] * 2)
    assert moved.goes_on() and back.goes_on()
    enough()
    moved.check(0, 2), back.check(0, 2)
    os.unlink(f'{HOME}/enough')


@test('the death of the far relay is told at once in one line, with status 137, and it comes back')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'sleep', '1008'], stderr=subprocess.PIPE)
    assert wait_until(lambda: len(processes('sleep 1008')) >= 2)
    n2.relay.kill()
    n2.relay.wait()
    equal(proxy.wait(30), 137)
    text = proxy.stderr.read().decode()
    assert re.fullmatch(r"xos: node 'n2' that ran 'sleep' \(job n1-\d+\) was lost; .*\n", text), text
    assert wait_until(lambda: not processes('sleep 1008')), 'the cell outlived its relay'
    equal([j['state'] for j in n1.control.call('jobs')['jobs'] if j['name'] == 'sleep'][-1], 'lost')
    n2.start()
    n2.join([n1, n2, n3], 'n1')
    assert wait_until(lambda: far('/bin/true').returncode == 0)


@test('the death of the home relay ends proxies with status 137, and no job id comes twice')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'sleep', '1009'], stderr=subprocess.PIPE)
    assert wait_until(lambda: len(processes('sleep 1009')) >= 2)
    last = max(int(j['job'].split('-')[1]) for j in n1.control.call('jobs')['jobs'])
    n1.relay.kill()
    n1.relay.wait()
    equal(proxy.wait(30), 137)
    assert wait_until(lambda: not processes('sleep 1009')), 'the far job outlived its home'
    done = session(n1, ['xrun', 'sh', '-c', 'echo here'])
    equal(done.stdout, b'here\n')
    assert b'relay' in done.stderr
    n1.start()
    n1.join([n1, n2, n3], 'n1')
    assert wait_until(lambda: far('/bin/true').returncode == 0)
    first = min(int(j['job'].split('-')[1]) for j in n1.control.call('jobs')['jobs'])
    assert first > last, (first, last)


run([n1, n2, n3])
