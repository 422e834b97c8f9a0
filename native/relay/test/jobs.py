"""The job path end to end: two relays in two network namespaces, real TLS, real cells, alice's session with a real keyring.

   unshare -m --propagation unchanged -n -p -f --kill-child python3 jobs.py BUILD [NAME PART]
"""
import fcntl, os, re, shutil, signal, struct, subprocess, sys, termios, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from grid import UID, SECRET, SESSION, Terminal, become_alice, build_grid, can_redirect, session, start
from harness import Skip, equal, processes, run, test, wait_until


def needs_typed_names():
    if not can_redirect():
        raise Skip('no user namespace can be made here (in a chroot, or not permitted)')


def far(*argv, **options):
    return session(n1, ['xrun', '--node', 'n2', *argv], **options)


@test('exit status, standard output and standard error are the job\'s, and it ran on the other node')
def _():
    done = far('sh', '-c', 'echo out; echo err >&2; echo $XOS_NODE_NAME $XOS_JOB; exit 7')
    equal((done.returncode, done.stderr), (7, b'err\n'))
    assert re.fullmatch(rb'out\nn2 n1-\d+\n', done.stdout), done.stdout


@test('a job that dies by a signal takes its proxy with it by the same signal, without a core')
def _():
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP):
        equal(far('sh', '-c', f'kill -{int(number)} $$').returncode, -number)


@test('arguments with blanks, newlines and nothing, and an environment with newlines arrive as they are')
def _():
    done = session(n1, ['env', 'A=x\ny', 'B= ', 'C=', 'xrun', '--node', 'n2', 'python3', '-c', 'import os,sys;print([sys.argv[1:],os.environ["A"],os.environ["B"],os.environ["C"]])', 'a b', 'c\nd', '', 'é'])
    equal(done.stdout.decode(), repr([['a b', 'c\nd', '', 'é'], 'x\ny', ' ', '']) + '\n')


@test('working directory, umask, limits, niceness, groups and ignored signals follow')
def _():
    code = ('import os,resource,signal;print(os.getcwd(),oct(os.umask(0)),resource.getrlimit(resource.RLIMIT_NOFILE),os.getpriority(0,0),os.getuid(),os.getgid(),os.getgroups(),'
            'signal.getsignal(signal.SIGUSR1)==signal.SIG_IGN,signal.getsignal(signal.SIGTERM)==signal.SIG_DFL)')
    os.makedirs('/home/alice/d e', exist_ok=True)
    done = session(n1, ['sh', '-c', 'cd "d e"; umask 027; ulimit -n 321; trap "" USR1; exec nice -n 5 xrun --node n2 python3 -c "$0"', code])
    equal(done.stdout.decode().strip(), f'/home/alice/d e 0o27 (321, 321) {min(19, os.nice(0) + 5)} {UID} {UID} [{UID - 1}] True True')


@test('closed standard descriptors are closed there too, and nothing else is open')
def _():
    code = 'import os;os.write(1,b" ".join(b"%d"%fd for fd in range(64) if not __import__("errno").EBADF==(lambda:0)() and os.path.exists("/proc/self/fd/%d"%fd)))'
    equal(session(n1, ['sh', '-c', 'exec xrun --node n2 python3 -c "$0" <&- 2>&-', code]).stdout, b'1')
    equal(far('python3', '-c', code).stdout, b'0 1 2')


@test('standard output and error that are one pipe stay in order')
def _():
    done = far('sh', '-c', 'for i in 1 2 3 4 5 6 7 8; do echo o$i; echo e$i >&2; done', stderr=subprocess.STDOUT)
    equal(done.stdout.decode().split(), [kind + str(i) for i in range(1, 9) for kind in 'oe'])


@test('a large output and a large input arrive whole')
def _():
    data = os.urandom(1 << 20) * 24
    done = far('sha256sum', input=data, wait=60)
    import hashlib
    equal(done.stdout.split()[0].decode(), hashlib.sha256(data).hexdigest())
    done = far('cat', input=data, wait=60)
    equal(done.stdout == data, True, 'cat of 24 MiB')


@test('a reader that goes away ends the job by SIGPIPE')
def _():
    done = session(n1, ['bash', '-c', 'xrun --node n2 yes | head -n 2; echo ${PIPESTATUS[0]}'])
    equal(done.stdout, b'y\ny\n141\n')


@test('a file on standard input is left where the job stopped reading')
def _():
    with open('/home/alice/list', 'w') as file:
        file.write('a\nb\nc\n')
    done = session(n1, ['bash', '-c', 'while read line; do xrun --node n2 /bin/true; echo $line; done < list'])
    equal(done.stdout, b'a\nb\nc\n')
    done = session(n1, ['bash', '-c', '(xrun --node n2 bash -c "read x; echo far \\$x"; cat) < list'])
    equal(done.stdout, b'far a\nb\nc\n')


@test('of a pipe on standard input a job consumes only what it reads')
def _():
    done = session(n1, ['bash', '-c', 'printf "a\\nb\\nc\\n" | (xrun --node n2 bash -c "read x; echo far \\$x"; cat)'])
    equal(done.stdout, b'far a\nb\nc\n')
    done = session(n1, ['bash', '-c', 'printf "a\\nb\\n" | (xrun --node n2 /bin/true; xrun --node n2 cat)'])
    equal(done.stdout, b'a\nb\n')
    done = session(n1, ['bash', '-c', '(echo one; sleep 0.3; echo two) | xrun --node n2 cat'])
    equal(done.stdout, b'one\ntwo\n')


@test('signals reach the job, and a handler there decides')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'bash', '-c', 'trap "echo got; exit 3" USR1; echo ready; while :; do sleep 0.05; done'], stdout=subprocess.PIPE)
    equal(proxy.stdout.readline(), b'ready\n')
    proxy.send_signal(signal.SIGUSR1)
    equal((proxy.stdout.read(), proxy.wait(30)), (b'got\n', 3))


@test('stopping and continuing the proxy stops and continues the job')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'bash', '-c', 'echo ready; while :; do sleep 0.05; done; : stops'], stdout=subprocess.PIPE)
    proxy.stdout.readline()
    job = [pid for pid in processes('while :; do sleep 0.05; done; : stops') if pid != proxy.pid][0]
    state = lambda pid: open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0]
    proxy.send_signal(signal.SIGTSTP)
    assert wait_until(lambda: state(job) == 'T' and state(proxy.pid) == 'T'), (state(job), state(proxy.pid))
    proxy.send_signal(signal.SIGCONT)
    assert wait_until(lambda: state(job) != 'T' and state(proxy.pid) != 'T'), (state(job), state(proxy.pid))
    proxy.terminate()
    equal(proxy.wait(30), -signal.SIGTERM)


@test('ps shows the program\'s name and arguments for the proxy')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'sleep', '1000'])
    assert wait_until(lambda: open(f'/proc/{proxy.pid}/cmdline').read() == 'sleep\x001000\x00'), open(f'/proc/{proxy.pid}/cmdline').read()
    equal(open(f'/proc/{proxy.pid}/comm').read(), 'sleep\n')
    proxy.kill()
    proxy.wait()


@test('kill -9 of the proxy ends the job')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'sleep', '1001'])
    assert wait_until(lambda: len(processes('sleep 1001')) >= 2)
    proxy.kill()
    proxy.wait()
    assert wait_until(lambda: not processes('sleep 1001')), processes('sleep 1001')


@test('what a job leaves behind goes with it, and its output before the end arrives')
def _():
    began = time.time()
    done = far('sh', '-c', 'sleep 1002 & echo started', wait=20)
    equal((done.returncode, done.stdout), (0, b'started\n'))
    assert wait_until(lambda: not processes('sleep 1002')), 'still there'


@test('a program or directory that the named node lacks is reported as a shell would')
def _():
    done = session(n1, ['xrun', '--node', 'n2', 'no-such-program'])
    equal(done.returncode, 127)
    assert b'no-such-program' in done.stderr
    done = far('/home/alice/list')
    equal(done.returncode, 126)
    equal(session(n1, ['xrun', '--node', 'n9', '/bin/true']).returncode, 125)


@test('a wrong secret or another user is refused')
def _():
    wrong = subprocess.run(['xrun', '--node', 'n2', 'id'], preexec_fn=lambda: become_alice(n1, 'f' * 32), capture_output=True, timeout=20)
    equal((wrong.returncode, wrong.stdout), (126, b''))
    other = subprocess.run(['xrun', '--node', 'n2', 'id'], preexec_fn=lambda: become_alice(n1, SECRET, UID + 1), capture_output=True, timeout=20)
    equal((other.returncode, other.stdout), (126, b''))


@test('the control socket lists jobs and cells, and signals them for their owner only')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'sleep', '1003'])
    job = None
    assert wait_until(lambda: any(j['name'] == 'sleep' and j['state'] == 'running' for j in n1.control.call('jobs')['jobs']))
    job = [j for j in n1.control.call('jobs')['jobs'] if j['name'] == 'sleep' and j['state'] == 'running'][-1]
    equal((job['node'], job['uid'], job['proxy_pid'] > 0), ('n2', UID, True))
    assert wait_until(lambda: n2.control.call('cells')['cells'] and n2.control.call('cells')['cells'][0]['processes'] == 1), n2.control.call('cells')
    equal(n1.control.call('signal', job=job['job'], signal=15, uid=UID + 1)['error']['code'], 'XOS_JOB_UNKNOWN')
    equal(n1.control.call('signal', job=job['job'], signal=15, uid=UID)['ok'], True)
    equal(proxy.wait(30), -15)
    assert wait_until(lambda: [j for j in n1.control.call('jobs')['jobs'] if j['job'] == job['job']][0].get('exit_signal') == 15)


@test('without a named node the job goes where there is room, and back home when the other node refuses')
def _():
    table = lambda free1, free2: n1.control.call('placement', nodes=[{'node': 'n1', 'cpus': 2, 'running': 2 - free1}, {'node': 'n2', 'cpus': 2, 'running': 2 - free2}])
    where = lambda: session(n1, ['xrun', 'sh', '-c', 'echo $XOS_NODE_NAME']).stdout
    table(2, 2)
    equal(where(), b'n1\n')
    table(0, 2)
    equal(where(), b'n2\n')
    n2.control.call('session-remove', session=SESSION, reason='test', kill=False)
    table(0, 2)
    equal(where(), b'n1\n')
    n2.join([n1, n2], 'n1')
    table(0, 2)
    equal(session(n1, ['env', 'XOS_NODE=n2', 'xrun', 'sh', '-c', 'echo $XOS_NODE_NAME']).stdout, b'n2\n')
    equal(session(n1, ['xlocal', 'sh', '-c', 'echo $XOS_LOCAL$XOS_NODE_NAME']).stdout, b'1\n')


@test('a named node that has not heard of the session yet is asked again, and whoever waits can give up')
def _():
    n2.control.call('session-remove', session=SESSION, reason='test', kill=False)
    n1.join([n1, n2], 'n1')  # as a login does
    waiting, given_up = [start(n1, ['xrun', '--node', 'n2', 'sh', '-c', 'echo ran; cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    assert wait_until(lambda: sum(j['state'] == 'starting' for j in n1.control.call('jobs')['jobs']) == 2), n1.control.call('jobs')
    given_up.terminate()
    equal(given_up.wait(30), -signal.SIGTERM)
    waiting.stdin.write(b'typed before it began')
    waiting.stdin.close()
    time.sleep(1.5)  # refused once more, with that
    n2.join([n1, n2], 'n1')
    equal(waiting.stdout.read(), b'ran\ntyped before it began')
    equal(waiting.wait(30), 0)


@test('a session that is removed with kill takes its jobs along')
def _():
    proxy = start(n1, ['xrun', '--node', 'n2', 'sleep', '1004'])
    assert wait_until(lambda: len(processes('sleep 1004')) >= 2)
    n2.control.call('session-remove', session=SESSION, reason='revoked', kill=True)
    equal(proxy.wait(30), -9)
    n2.join([n1, n2], 'n1')


@test('a thousand jobs from xargs -P4 succeed and leave nothing behind')
def _():
    fds = lambda node: len(os.listdir(f'/proc/{node.relay.pid}/fd'))
    session(n1, ['bash', '-c', 'seq 20 | xargs -P4 -n1 xrun --node n2 /bin/true'])
    time.sleep(0.5)
    before = fds(n1), fds(n2)
    done = session(n1, ['bash', '-c', 'seq 1000 | xargs -P4 -I{} xrun --node n2 sh -c "echo {}"'], wait=120)
    equal((done.returncode, sorted(map(int, done.stdout.split())), done.stderr), (0, list(range(1, 1001)), b''))
    assert wait_until(lambda: fds(n1) <= before[0] + 4 and fds(n2) <= before[1] + 8), (before, fds(n1), fds(n2))
    assert wait_until(lambda: n2.control.call('cells')['cells'] == []), n2.control.call('cells')


@test('a job on a terminal has one there, of the same size, and sees it change')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '-i'])
    terminal.expect('$ ')
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 77, 0, 0))
    terminal.send('xrun --node n2 bash -c \'tty; stty size; echo x > /dev/tty; trap "stty size; exit" WINCH; echo rea""dy; while :; do sleep 0.05; done\'\n')
    terminal.expect('/dev/pts/')
    terminal.expect('33 77')
    terminal.expect('ready')
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 20, 60, 0, 0))
    terminal.expect('20 60')
    terminal.expect('$ ')
    terminal.end()


@test('^C, ^Z, fg, bg and jobs do what they do at home, and the terminal is given back')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '-i'])
    terminal.expect('$ ')
    terminal.send('xrun --node n2 sleep 1005\n')
    assert wait_until(lambda: len(processes('sleep 1005')) >= 2)
    time.sleep(0.3)
    terminal.send('\x03')
    terminal.expect('$ ')
    terminal.send('echo status $?\n')
    terminal.expect('status 130')
    assert wait_until(lambda: not processes('sleep 1005'))
    terminal.send('xrun --node n2 sleep 1006\n')
    assert wait_until(lambda: len(processes('sleep 1006')) >= 2)
    time.sleep(0.3)
    terminal.send('\x1a')
    terminal.expect('Stopped')
    terminal.expect('$ ')
    terminal.send('jobs\n')
    terminal.expect('Stopped')
    terminal.send('bg\n')
    terminal.expect('&')
    time.sleep(0.3)
    terminal.send('jobs\n')
    terminal.expect('Running')
    terminal.send('fg\n')
    terminal.expect('sleep 1006')
    time.sleep(0.5)
    terminal.send('\x03')
    terminal.expect('$ ')
    terminal.send('stty -a | grep -c "isig icanon"\n')
    terminal.expect('1')
    terminal.end()


@test('a job of the background that reads its terminal stops for it, and goes on in the foreground')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '--posix', '-i'])  # posix: it names the signal
    terminal.expect('$ ')
    terminal.send('xrun --node n2 cat &\n')
    terminal.expect('$ ')
    terminal.expect_at_prompt('Stopped(SIGTTIN)')
    terminal.send('fg\n')
    terminal.expect('cat')
    terminal.send('abc\n')
    terminal.expect('abc\r\nabc')
    terminal.send('\x1a')
    terminal.expect('Stopped(SIGTSTP)')
    terminal.expect('$ ')
    terminal.send('bg\n')
    terminal.expect_at_prompt('Stopped(SIGTTIN)')
    terminal.send('kill %1; fg; echo st""atus $?\n')
    terminal.expect('status 143')
    # One that does not read goes on, may write, and reads when it is brought to the foreground while it runs.
    terminal.send('xrun --node n2 bash -c "echo in back; sleep 1; read x; echo got \\$x" &\n')
    terminal.expect('in back')
    terminal.send('fg\n')
    terminal.send('seven\n')
    terminal.expect('got seven')
    # Settings of the terminal are not for the background either.
    terminal.send('xrun --node n2 stty -echo &\n')
    terminal.expect_at_prompt('Stopped(SIGTTOU)')
    terminal.send('kill -9 %1\n')
    # Without a shell that could continue it, it is hung up.
    terminal.send('( xrun --node n2 sh -c "sleep 1.5; read x < /dev/tty; : orphan" & )\n')
    assert wait_until(lambda: processes(': orphan'))
    assert wait_until(lambda: not processes(': orphan'))
    terminal.end()


@test('cat on a terminal echoes, edits a line and ends with ^D')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '-i'])
    terminal.expect('$ ')
    terminal.send('xrun --node n2 cat; echo st""atus $?\n')
    time.sleep(0.5)
    terminal.send('abX\x7fc\n')
    terminal.expect('abc\r\n')
    terminal.send('\x04')
    terminal.expect('status 0')
    terminal.end()


@test('what is typed while a job ends is read by the shell')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '-i'])
    terminal.expect('$ ')
    for i in range(60):
        terminal.send('xrun --node n2 /bin/true\n')
        time.sleep(i * 0.001)
        terminal.send(f'echo ma""rk {i}\n')
        terminal.expect(f'mark {i}')
    terminal.end()


@test('less reads the terminal at the end of a pipeline')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '-i'])
    terminal.expect('$ ')
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 10, 60, 0, 0))
    terminal.send('seq 100 | xrun --node n2 less; echo st""atus $?\n')
    terminal.expect('9')
    terminal.send(' ')
    terminal.expect('18')
    terminal.send('q')
    terminal.expect('status 0')
    terminal.end()


@test('vim edits a file and ^Z stops it')
def _():
    terminal = Terminal(n1, ['bash', '--norc', '-i'])
    terminal.expect('$ ')
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    terminal.send('xrun --node n2 vim -u NONE -n note\n')
    terminal.expect('note')
    time.sleep(0.5)
    terminal.send('ihello\x1b')
    terminal.expect('hello')
    time.sleep(0.3)
    terminal.send('\x1a')
    terminal.expect('Stopped')
    terminal.send('fg\n')
    terminal.expect('hello')
    time.sleep(0.5)
    terminal.send(':wq\r')
    terminal.expect('$ ')
    assert wait_until(lambda: os.path.exists('/home/alice/note'))
    equal(open('/home/alice/note').read(), 'hello\n')
    terminal.end()


@test('a typed name runs on the grid: by path, by PATH, a script, with its own argv[0]; marked programs stay')
def _():
    needs_typed_names()
    n1.control.call('placement', nodes=[{'node': 'n1', 'cpus': 2, 'running': 2}, {'node': 'n2', 'cpus': 64, 'running': 0}])
    with open('/home/alice/script', 'w') as file:
        file.write('#!/usr/bin/python3\nimport os,sys;print(os.environ["XOS_NODE_NAME"],sys.argv[1:])\n')
    os.chmod('/home/alice/script', 0o755)
    shutil.copy('/usr/bin/env', '/home/alice/program')
    run = lambda text: session(n1, ['/home/bin/bash', '-c', text], typed=True).stdout.decode()
    equal(run('dash -c "echo \\$XOS_NODE_NAME \\$0" zero'), 'n2 zero\n')
    equal(run('./script "a b" c'), "n2 ['a b', 'c']\n")
    equal('XOS_NODE_NAME=n2' in run('./program'), True)
    equal(run('exec -a other dash -c "cat /proc/\\$\\$/cmdline" | tr "\\0" " "'), 'other -c cat /proc/$$/cmdline ')
    equal(run('/home/bin/bash -c "echo -\\$XOS_NODE_NAME-"'), '--\n')
    equal(run('XOS_LOCAL=1 dash -c "echo -\\$XOS_NODE_NAME-"'), '--\n')
    equal(run('xlocal dash -c "echo -\\$XOS_NODE_NAME-"'), '--\n')
    equal(run('cd /tmp; dash -c "echo -\\$XOS_NODE_NAME-"'), '--\n')
    equal(run('dash -c "echo -\\$XOS_NODE_NAME-" 7</dev/null'), '--\n')
    equal(run('printf "a\\nb\\n" | sort -r | dash -c "cat; echo \\$XOS_NODE_NAME" | tac'), 'n2\na\nb\n')
    equal(run('XOS_NODE=n1 dash -c "echo \\$XOS_NODE_NAME"'), 'n1\n')


@test('a policy keeps a program here, the last line wins, and the user\'s own comes after the node\'s')
def _():
    needs_typed_names()
    def node_policy(text):
        path = f'/proc/{n1.holder}/root/run/xos/policy'
        with open(path, 'w') as file:
            file.write(text)
    run = lambda: session(n1, ['/home/bin/bash', '-c', 'dash -c "echo -\\$XOS_NODE_NAME-"'], typed=True).stdout.decode().strip()
    node_policy('# comment\n/usr/bin/* local\n')
    equal(run(), '--')
    node_policy('/usr/bin/* local\n/usr/bin/d?sh grid node=n1\n')
    equal(run(), '-n1-')
    os.makedirs('/home/alice/.config/xos', exist_ok=True)
    with open('/home/alice/.config/xos/policy', 'w') as file:
        file.write('/usr/bin/dash grid node=n2 # mine\n')
    equal(run(), '-n2-')
    os.unlink('/home/alice/.config/xos/policy')
    node_policy('')


@test('typed names run here, without a word, when the relay or the session is not there')
def _():
    needs_typed_names()
    n1.control.call('session-remove', session=SESSION, reason='test', kill=False)
    done = session(n1, ['/home/bin/bash', '-c', 'dash -c "echo -\\$XOS_NODE_NAME-"'], typed=True)
    equal((done.returncode, done.stdout, done.stderr), (0, b'--\n', b''))
    n1.join([n1, n2], 'n1')


@test('a shell with typed names: a pipeline, ^C over all of it, time and wait')
def _():
    needs_typed_names()
    n1.control.call('placement', nodes=[{'node': 'n1', 'cpus': 2, 'running': 2}, {'node': 'n2', 'cpus': 64, 'running': 0}])
    terminal = Terminal(n1, ['/home/bin/bash', '--norc', '-i'], typed=True)
    terminal.expect('$ ')
    terminal.send('sleep 1010 | sleep 1011; echo st""atus ${PIPESTATUS[@]}\n')
    assert wait_until(lambda: len(processes('sleep 1010')) >= 2 and len(processes('sleep 1011')) >= 2)
    time.sleep(0.4)
    terminal.send('\x03')
    terminal.expect('$ ')
    assert wait_until(lambda: not processes('sleep 1010') and not processes('sleep 1011'))
    terminal.send('time dash -c "exit 4"; echo st""atus $?\n')
    terminal.expect('real')
    terminal.expect('status')
    terminal.send('dash -c "sleep 0.2; exit 6" & wait $!; echo st""atus $?\n')
    terminal.expect('status 6')
    terminal.send('python3 -c "input(); print(5+6)" & sleep 0.5\n')
    time.sleep(0.2)
    terminal.send('echo typed ah""ead; fg\n')  # while the foreground job runs, which does not read it
    terminal.expect('typed ahead')
    time.sleep(0.7)
    terminal.send('x\n')
    terminal.expect('11')
    terminal.end()


@test('a checkpointed job stops in its shell, goes on on the other node with its terminal, and its directory can be used again')
def _():
    terminal = Terminal(n1, ['/home/bin/bash', '--norc', '-i'])
    terminal.expect('$ ')
    terminal.send('xrun --node n2 python3 -uc "\nimport time\nfor i in range(900): print(\'tick\', i); time.sleep(0.05)"\n')
    terminal.expect('tick 4')
    job = n1.control.call('jobs')['jobs'][-1]['job']
    obstacles = n1.control.call('check', job=job, uid=UID).get('obstacles')
    equal([each for each in obstacles if each['certain']], [])  # a build tree below /tmp is a doubt: other nodes do not have it
    kept = n1.control.call('checkpoint', job=job, uid=UID, directory='/home/alice/kept', leave_running=True)
    if not kept['ok'] and 'mountpoint' in kept['error']['message']:
        terminal.end()
        raise Skip('CRIU cannot work in a chroot')
    equal(kept['ok'], True, kept)
    terminal.expect('tick 12')
    done = n1.control.call('checkpoint', job=job, uid=UID, directory='/home/alice/moved', leave_running=False)
    equal(done['ok'], True, done)
    terminal.expect('Stopped')
    equal([j['state'] for j in n1.control.call('jobs')['jobs'] if j['job'] == job], ['checkpointed'])
    equal(n1.control.call('restore', job=job, uid=UID + 1, session=SESSION, directory='/home/alice/moved', node='n1')['ok'], False)
    done = n1.control.call('restore', job=job, uid=UID, session=SESSION, directory='/home/alice/moved', node='n1', attach=False)
    equal((done['ok'], done.get('node'), done.get('job')), (True, 'n1', job), done)
    terminal.expect('tick')
    terminal.send('fg\n')
    terminal.expect('tick')
    time.sleep(0.5)
    terminal.send('\x03')
    terminal.expect('KeyboardInterrupt')
    terminal.expect('$ ')
    # A job that is over comes back as a new one, with a proxy of its own.
    done = n1.control.call('restore', job=job, uid=UID, session=SESSION, directory='/home/alice/kept', node='n2', attach=True)
    equal(done['ok'], True, done)
    terminal.send(f'{n1.build}/relay/xexec --attach {done["job"]}\n')
    terminal.expect('tick')
    terminal.expect('tick')
    terminal.send('\x03')
    terminal.expect('KeyboardInterrupt')
    # One that ends before its proxy is there: what it wrote and how it ended waits for the proxy.
    terminal.expect('$ ')
    done = n1.control.call('restore', job=job, uid=UID, session=SESSION, directory='/home/alice/kept', node='n2', attach=True)
    equal(done['ok'], True, done)
    n1.control.call('signal', job=done['job'], uid=UID, signal=9)
    assert wait_until(lambda: [j['state'] for j in n1.control.call('jobs')['jobs'] if j['job'] == done['job']] == ['ended'])
    terminal.send(f'{n1.build}/relay/xexec --attach {done["job"]}; echo ended wi""th $?\n')
    terminal.expect('ended with 137')
    terminal.send(f'{n1.build}/relay/xexec --attach {done["job"]}; echo ended wi""th $?\n')
    terminal.expect('ended with 125')
    terminal.end()


@test('a background job runs on, and nohup and timeout behave')
def _():
    equal(session(n1, ['timeout', '0.5', 'xrun', '--node', 'n2', 'sleep', '1007']).returncode, 124)
    assert wait_until(lambda: not processes('sleep 1007'))
    equal(session(n1, ['setsid', '-w', 'xrun', '--node', 'n2', 'sh', '-c', 'echo x']).stdout, b'x\n')
    equal(session(n1, ['bash', '-c', 'xrun --node n2 sh -c "sleep 0.3; exit 5" & wait $!; echo $?']).stdout, b'5\n')
    equal(session(n1, ['nohup', 'xrun', '--node', 'n2', 'sh', '-c', 'kill -HUP $$; echo alive']).stdout, b'alive\n')


@test('a job of an isolated and untrusted VO is checkpointed, and goes on on the other node as narrow as before')
def _():
    narrow = {'isolated': True, 'untrusted': True, 'few_devices': True}
    for node in (n1, n2):
        equal(node.control.call('vo-limits', vo='demo', cells=narrow)['ok'], True)
    os.makedirs('/home/bob', exist_ok=True)
    program = """import os, time
for i in range(900):
    facts = [line.split()[1] for line in open('/proc/self/status') if line.startswith(('NoNewPrivs', 'Seccomp_filters'))]
    print('tick', i, facts, os.listdir('/home'), len(os.listdir('/dev')) < 15, flush=True)
    time.sleep(0.05)
"""
    try:
        job = start(n1, ['xrun', '--node', 'n2', 'python3', '-uc', program], stdout=subprocess.PIPE, text=True)
        expected = "['1', '2'] ['alice'] True"
        for i in range(5):
            equal(job.stdout.readline().strip(), f'tick {i} {expected}')
        name = n1.control.call('jobs')['jobs'][-1]['job']
        done = n1.control.call('checkpoint', job=name, uid=UID, directory='/home/alice/narrow', leave_running=False)
        if not done['ok'] and 'mountpoint' in done['error']['message']:
            job.kill()
            raise Skip('CRIU cannot work in a chroot')
        equal(done['ok'], True, done)
        done = n1.control.call('restore', job=name, uid=UID, session=SESSION, directory='/home/alice/narrow', node='n1', attach=False)
        equal(done['ok'], True, done)
        lines = [job.stdout.readline().strip() for _ in range(60)]
        assert all(line.startswith('tick ') and line.endswith(expected) for line in lines), lines
        job.terminate()
        equal(job.wait(20), -signal.SIGTERM)
    finally:
        for node in (n1, n2):
            node.control.call('vo-limits', vo='demo', cells={})
    equal(session(n1, ['xrun', '--node', 'n2', 'sh', '-c', 'grep NoNewPrivs /proc/self/status; ls /home']).stdout.count(b'bob'), 1)


n1, n2 = build_grid(sys.argv[1])
run([n1, n2])
