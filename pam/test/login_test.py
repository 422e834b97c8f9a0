"""The real login, su and xenter with our PAM files, name service and namespaces, on a pseudo-terminal.

login_test.py BUILD PROGRAMS   (root; CTest gives the folders). The agent is scripted (agent.py); the same with xosd is in
test/grid/login.test.ts.
"""
import glob
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import warnings

import agent
import node
from terminal import Terminal

BUILD, PROGRAMS = sys.argv.pop(1), sys.argv.pop(1)
SOCKET = '/run/xos/agent.sock'
XENTER = '/usr/lib/xos/bin/xenter'
PROMPT = r'\$ (\x1b\[[^a-zA-Z]*[a-zA-Z])*$'


def ended(pid):
    """Also when nobody collects it: the first process of a container may be a test runner."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] == 'Z'
    except FileNotFoundError:
        return True


class Case(unittest.TestCase):
    def setUp(self):
        self.honest = agent.Honest(UIDS)
        self.agent = agent.Agent(SOCKET, self.honest)
        self.terminals = []

    def tearDown(self):
        for terminal in self.terminals:
            terminal.close()
        self.agent.close()

    def terminal(self, *argv):
        self.terminals.append(Terminal(*argv))
        return self.terminals[-1]

    def login(self, user, password):
        terminal = self.terminal('/usr/bin/login', user)
        terminal.expect('Password: ')
        terminal.send(password)
        return terminal

    def wait_for(self, what, condition):
        end = time.monotonic() + 10
        while not condition():
            self.assertLess(time.monotonic(), end, f'waited for {what}')
            time.sleep(0.02)


class Login(Case):
    def test_a_grid_user_logs_in_works_and_leaves_nothing(self):
        uid, terminal = UIDS['alice@demo'], self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        self.assertEqual(terminal.run('id'), (f'uid={uid}(alice@demo) gid={uid}(alice@demo) groups={uid}(alice@demo),{node.FIRST + 65536}(members@demo)\n', 0))
        self.assertEqual(terminal.run('stat -c "%U %G %a" "$(tty)"')[0], 'alice@demo tty 600\n')
        self.assertEqual(terminal.run('pwd; echo $HOME $USER $LOGNAME $SHELL $XOS_VO')[0], '/home/alice@demo\n/home/alice@demo alice@demo alice@demo /bin/bash demo\n')
        self.assertEqual(terminal.run('readlink /proc/self/ns/user /proc/1/ns/user | sort -u | wc -l; cat /proc/self/uid_map')[0].split()[-3:], ['0', '0', '4294967295'])
        self.assertEqual(terminal.run('/usr/bin/true "a b"'), ('handed over, flags 1\n</usr/bin/true>\n</usr/bin/true>\n<a b>\n', 42))
        self.assertEqual(terminal.run('cat /proc/self/loginuid')[0].strip(), str(uid))
        self.assertIn('xos:session', terminal.run('keyctl show')[0])
        self.assertEqual(terminal.run('echo $LD_PRELOAD $XOS_LOGIN_HANDLE $XOS_NODE_NAME')[0], 'n1\n')
        session = terminal.run('echo $XOS_SESSION')[0].strip()
        self.assertEqual(self.honest.sessions, {session: 'alice@demo'})
        terminal.send('exit')
        self.assertEqual(terminal.wait(), 0)
        self.assertEqual(self.agent.ops(), ['auth', 'account', 'open', 'close'])
        self.assertEqual((self.agent.seen[0]['service'], self.agent.seen[2]['tty']), ('login', self.agent.seen[0]['tty']))

    def test_job_control_and_the_terminals_signals_work(self):
        terminal = self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        terminal.send('sleep 1000')
        time.sleep(0.3)
        os.write(terminal.master, b'\x1a')
        terminal.expect('Stopped')
        self.assertEqual(terminal.run('bg %1; kill %1; wait %1')[1], 143)
        terminal.send('sleep 1000')
        time.sleep(0.3)
        os.write(terminal.master, b'\x03')
        self.assertEqual(terminal.run('true')[1], 0)
        self.assertEqual(terminal.run('(sleep 0.01; exit 7) & wait $!')[1], 7)

    def test_a_hangup_closes_the_session(self):
        terminal = self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        terminal.hang_up()
        self.wait_for('login to end', lambda: terminal.poll() is not None)
        self.assertEqual(self.agent.ops()[-1], 'close')
        self.assertEqual(self.honest.sessions, {})

    def test_refusals_say_a_polite_line(self):
        self.login('alice@demo', 'wrong').expect(r'Login refused\.\s+Login incorrect')
        self.login('x@foo', 'right').expect(r"The virtual organisation 'foo' is not known here\.\s+Login incorrect")
        self.agent.close()
        self.login('alice@demo', 'right').expect(r'The grid cannot be reached; try again later\.')

    def test_a_user_of_the_node_logs_in_as_ever(self):
        for _ in range(2):  # with the agent, and without
            terminal = self.login('local', 'native')
            terminal.expect(PROMPT)
            self.assertEqual(terminal.run('/usr/bin/true; id -un; keyctl show | grep -c xos')[0], 'local\n0\n')
            terminal.send('exit')
            terminal.wait()
            self.agent.close()
        self.login('local', 'wrong').expect('Login incorrect')
        self.assertEqual(self.agent.seen, [])

    def test_homes_that_are_mounted_later_reach_an_open_session(self):
        terminal = self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        os.makedirs('/home/later', exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', 'later', '/home/later'], check=True)
        try:
            self.assertIn('later /home/later', terminal.run('cat /proc/self/mounts')[0])
        finally:
            subprocess.run(['umount', '/home/later'], check=True)
        self.assertNotIn('/home/later', terminal.run('cat /proc/self/mounts')[0])

    def test_setuid_programs_work_on_files_and_have_no_rights_over_the_node(self):
        terminal = self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        terminal.send('su local')
        terminal.expect('Password: ')
        terminal.send('native')
        terminal.expect(PROMPT)
        self.assertEqual(terminal.run('id -un')[0], 'local\n')
        terminal.send('exit')
        self.assertEqual(terminal.run('/run/rootid id -u')[0], '0\n')
        self.assertEqual(terminal.run('/run/rootid cat /etc/shadow >/dev/null')[1], 0)
        self.assertNotEqual(terminal.run('/run/rootid mount -o remount,ro /proc')[1], 0)
        self.assertNotEqual(terminal.run('/run/rootid python3.13 -c "import os; os.setns(os.open(\'/proc/1/ns/mnt\', 0))"')[1], 0)

    def test_su_to_another_grid_user_opens_a_session_inside_the_session(self):
        terminal = self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        first = terminal.run('keyctl show; readlink /proc/self/ns/user')[0]
        terminal.send('su - bob@demo')
        terminal.expect('Password: ')
        terminal.send('right')
        terminal.expect(PROMPT)
        second = terminal.run('id -un; keyctl show; readlink /proc/self/ns/user')[0]
        self.assertTrue(second.startswith('bob@demo\n'), second)
        key = re.compile(r'(\d+) .*xos:session')
        self.assertNotEqual(key.search(first).group(1), key.search(second).group(1))
        self.assertNotEqual(first.split()[-1], second.split()[-1])
        self.assertEqual(terminal.run('/usr/bin/true')[1], 42)
        self.assertEqual(sorted(self.honest.sessions.values()), ['alice@demo', 'bob@demo'])
        terminal.send('exit')
        self.assertIn(key.search(first).group(1), terminal.run('keyctl show')[0])
        self.assertEqual(list(self.honest.sessions.values()), ['alice@demo'])

    def test_su_stays_in_the_directory_where_it_was_called(self):
        terminal = self.login('alice@demo', 'right')
        terminal.expect(PROMPT)
        terminal.send('cd /usr/share && su bob@demo')
        terminal.expect('Password: ')
        terminal.send('right')
        terminal.expect(PROMPT)
        self.assertEqual(terminal.run('id -un; pwd; readlink /proc/self/cwd')[0], 'bob@demo\n/usr/share\n/usr/share\n')

    def test_root_becomes_a_grid_user_without_a_grid_session(self):
        result = subprocess.run(['su', 'alice@demo', '-c', 'id -un; keyctl show'], capture_output=True, text=True)
        self.assertTrue(result.stdout.startswith('alice@demo\n'), result)
        self.assertNotIn('xos', result.stdout)
        self.assertNotIn('open', self.agent.ops())

    def test_the_sessions_keys_are_for_this_session_only(self):
        one, two = self.login('alice@demo', 'right'), self.login('alice@demo', 'right')
        for terminal in (one, two):
            terminal.expect(PROMPT)
        key = one.run('keyctl search @s user xos:session')[0].strip()
        payload, status = one.run(f'keyctl pipe {key}')
        self.assertRegex(payload, r'^[0-9a-f]{32}:[0-9a-f]{32}')
        for command in (f'keyctl pipe {key}', f'keyctl link {key} @s', f'keyctl setperm {key} 0x3f3f3f3f', f'keyctl chown {key} $UID'):
            self.assertNotEqual(two.run(command)[1], 0, command)
        ring = one.run('keyctl id @s')[0].strip()
        for command in (f'keyctl link {ring} @s', f'keyctl list {ring}', f'keyctl revoke {ring}', f'keyctl read {ring}'):
            self.assertNotEqual(two.run(command)[1], 0, command)
        self.assertNotEqual(one.run(f'keyctl link {key} @u')[1], 0, 'no way out of the session')
        self.assertNotEqual(one.run(f'keyctl setperm {key} 0x3f3f3f3f')[1], 0)
        credential = one.run('keyctl search @s user xos:credential')[0].strip()
        self.assertEqual(subprocess.run(['keyctl', 'update', credential, 'renewed']).returncode, 0, 'xosd renews the credential from outside')
        self.assertEqual(one.run(f'keyctl pipe {credential}')[0].strip(), 'renewed')
        self.assertNotEqual(one.run(f'keyctl update {credential} forged')[1], 0)
        # Who stays behind when the session is closed has no credential any more.
        one.send(f'(trap "" HUP; while keyctl pipe {key} >/dev/null 2>&1; do sleep 0.05; done; id -u > /home/alice@demo/gone) & disown; exit')
        one.wait()
        self.wait_for('the keys to be gone', lambda: os.path.exists('/home/alice@demo/gone'))
        os.unlink('/home/alice@demo/gone')


class Xenter(Case):
    def run_xenter(self, *argv, password='right', stdin=None, **more):
        read, write = os.pipe()
        os.write(write, password.encode() + b'\n')
        os.close(write)
        try:
            return subprocess.run([XENTER, '--password-fd', str(read), *argv], pass_fds=[read], capture_output=True, text=True, timeout=60, stdin=stdin, **more)
        finally:
            os.close(read)

    def start(self, *argv, **more):
        read, write = os.pipe()
        os.write(write, b'right\n')
        os.close(write)
        child = subprocess.Popen([XENTER, '--password-fd', str(read), *argv], pass_fds=[read], stdout=subprocess.PIPE, text=True, **more)
        os.close(read)
        return child

    def test_a_command_runs_as_the_user_in_a_session_that_is_closed_afterwards(self):
        result = self.run_xenter('alice@demo', '--', 'bash', '-c', 'id -un; pwd; umask; printf "<%s>" "$@"', '-', 'a b', '', 'c\nd', '--', env={'EVIL': '1', 'LANG': 'C', 'LD_AUDIT': ''})
        self.assertEqual((result.stdout, result.stderr, result.returncode), ('alice@demo\n/home/alice@demo\n0002\n<a b><><c\nd><-->', '', 0))
        self.assertEqual(self.agent.ops(), ['auth', 'account', 'open', 'close'])
        self.assertEqual(self.agent.seen[0]['service'], 'xgrid')

    def test_standard_input_behind_the_password_is_the_commands(self):
        result = subprocess.run([XENTER, '--password-fd', '0', 'alice@demo', '--', 'cat'], input='right\nline 1\nline 2', capture_output=True, text=True)
        self.assertEqual((result.stdout, result.stderr), ('line 1\nline 2', ''))

    def test_the_environment_is_clean(self):
        result = self.run_xenter('alice@demo', '--', 'env', env={'EVIL': '1', 'LANG': 'de_DE.UTF-8', 'TERM': 'vt100', 'HOME': '/root', 'XOS_LOCAL': '1'})
        names = sorted(line.partition('=')[0] for line in result.stdout.splitlines())
        self.assertEqual(names, ['HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER', 'XOS_NODE_NAME', 'XOS_SESSION', 'XOS_VO'])
        self.assertIn('HOME=/home/alice@demo', result.stdout)
        self.assertIn('TERM=vt100', result.stdout)

    def test_the_exit_status_is_the_commands(self):
        for script, status in (('exit 0', 0), ('exit 255', 255), ('kill -9 $$', 137), ('kill -15 $$', 143), ('kill -11 $$', 139)):
            self.assertEqual(self.run_xenter('alice@demo', '--', 'bash', '-c', script).returncode, status, script)
        self.assertEqual(self.run_xenter('alice@demo', '--', '/usr/bin/true').returncode, 42)  # the stand-in of xexec
        self.assertEqual(self.run_xenter('alice@demo', '--', 'no-such-program').returncode, 127)
        self.assertEqual(self.run_xenter('alice@demo', '--', '/etc/passwd').returncode, 126)
        self.assertEqual(self.honest.sessions, {})

    def test_who_may_not_is_refused(self):
        for argv, password, said in ((['alice@demo'], 'wrong', 'Login refused.'), (['x@foo'], 'right', "The virtual organisation 'foo' is not known here."),
                                     (['root'], 'right', 'refused'), (['local'], 'native', 'refused'), (['a@b@c'], 'x', 'refused')):
            result = self.run_xenter(*argv, '--', 'id', password=password)
            self.assertEqual((result.returncode, result.stdout), (1, ''), argv)
            self.assertIn(said, result.stderr)
        self.assertNotIn('open', self.agent.ops())

    def test_bad_usage_is_told(self):
        for argv in ([], ['alice@demo'], ['alice@demo', '--'], ['alice@demo', 'id'], ['--', 'id'], ['--service'], ['--service', '../x', 'a@b', '--', 'id'],
                     ['--password-fd', 'x', 'a@b', '--', 'id'], ['--password-fd', '-1', 'a@b', '--', 'id'], ['--what', '1', 'a@b', '--', 'id'], ['-x', '--', 'id'],
                     ['--password-fd', '99', 'alice@demo', '--', 'id']):
            result = subprocess.run([XENTER, *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, 2, argv)
            self.assertTrue(result.stderr.startswith('xenter: '))
        result = subprocess.run([XENTER, 'alice@demo', '--', 'id'], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 1)
        self.assertIn('--password-fd', result.stderr)
        result = subprocess.run(['setpriv', '--reuid', '65534', '--clear-groups', XENTER, 'alice@demo', '--', 'id'], capture_output=True, text=True)
        self.assertEqual((result.returncode, self.agent.seen), (2, []))

    def test_signals_are_passed_on_and_the_session_is_closed_after_them(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            child = self.start('alice@demo', '--', 'bash', '-c', f'trap "echo got; exit 9" {int(number)}; echo ready; while :; do sleep 0.05; done')
            self.assertEqual(child.stdout.readline(), 'ready\n')
            child.send_signal(number)
            self.assertEqual((child.stdout.read(), child.wait(30)), ('got\n', 9))
            child.stdout.close()
        self.assertEqual((self.honest.sessions, self.agent.ops().count('close')), ({}, 3))

    def test_closed_standard_streams_stay_closed(self):
        read, write = os.pipe()
        os.write(write, b'right\n')
        os.close(write)
        os.set_inheritable(read, True)
        result = subprocess.run(['bash', '-c', f'exec {XENTER} --password-fd {read} alice@demo -- bash -c "ls -l /proc/self/fd/ > /home/alice@demo/fds" <&- >&- 2>&-'], pass_fds=[read])
        os.close(read)
        self.assertEqual(result.returncode, 0)
        with open('/home/alice@demo/fds') as file:
            open_ones = re.findall(r' (\d+) -> (\S+)', file.read())
        # 1 is the redirection; ls takes the first free number for the folder it reads.
        self.assertEqual([number for number, _ in open_ones], ['0', '1'], open_ones)

    def test_nothing_but_the_standard_streams_is_inherited(self):
        extra = os.open('/etc/shadow', os.O_RDONLY)
        os.set_inheritable(extra, True)
        read, write = os.pipe()
        os.write(write, b'right\n')
        os.close(write)
        result = subprocess.run([XENTER, '--password-fd', str(read), 'alice@demo', '--', 'ls', '/proc/self/fd'], pass_fds=[extra, read], capture_output=True, text=True)
        os.close(extra)
        os.close(read)
        self.assertEqual(result.stdout.split(), ['0', '1', '2', '3'])

    def test_a_killed_xenter_takes_its_command_along(self):
        child = self.start('alice@demo', '--', 'bash', '-c', 'echo $$; exec sleep 1000')
        command = int(child.stdout.readline())
        child.kill()
        child.wait()
        child.stdout.close()
        self.wait_for('the command to end', lambda: ended(command))

    def test_many_logins_leave_nothing_behind(self):
        def count():
            with open('/proc/key-users') as users:
                keys = users.read()
            return len(glob.glob('/proc/[0-9]*')), int(re.search(r' 0: +(\d+)', keys).group(1))
        self.run_xenter('alice@demo', '--', 'id')
        before = count()
        for _ in range(20):
            self.assertEqual(self.run_xenter('alice@demo', '--', 'id', '-u').returncode, 0)
        self.wait_for('keys to be collected', lambda: count()[1] <= before[1] + 3)
        self.assertEqual(self.honest.sessions, {})


class Ssh(Case):
    """sshd on a loopback of its own; it asks for the password in another process than the one that opens the session."""

    def setUp(self):
        super().setUp()
        node.check(node.libc.unshare(0x40000000), 'unshare network')
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        os.makedirs('/run/sshd', exist_ok=True)
        if not os.path.exists('/run/ssh-key'):
            subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', '/run/ssh-key'], check=True)
        self.sshd = subprocess.Popen(['/usr/sbin/sshd', '-D', '-f', '/dev/null', '-p', '2222', '-h', '/run/ssh-key', '-o', 'ListenAddress=127.0.0.1', '-o', 'UsePAM=yes',
                                      '-o', 'KbdInteractiveAuthentication=yes', '-o', 'PasswordAuthentication=no', '-o', 'PidFile=none'], stderr=subprocess.DEVNULL)

    def tearDown(self):
        self.sshd.terminate()
        self.sshd.wait()
        super().tearDown()

    def ssh(self, user, *command):
        self.wait_for('sshd', lambda: subprocess.run(['bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/2222'], stderr=subprocess.DEVNULL).returncode == 0)
        return self.terminal('/usr/bin/ssh', '-tt', '-p', '2222', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR',
                             '-o', 'PreferredAuthentications=keyboard-interactive', '-o', 'NumberOfPasswordPrompts=1', f'{user}@127.0.0.1', *command)

    def test_a_grid_user_logs_in_by_ssh(self):
        terminal = self.ssh('alice@demo')
        terminal.expect('[Pp]assword: ')
        terminal.send('right')
        terminal.expect(PROMPT)
        self.assertEqual(terminal.run('id -un; keyctl show | grep -c xos:; env | grep -c HANDLE')[0], 'alice@demo\n2\n0\n')
        self.assertEqual(terminal.run('/usr/bin/true')[1], 42)
        self.assertEqual(terminal.run('stat -c %U "$(tty)"')[0], 'alice@demo\n')
        terminal.send('exit')
        self.assertEqual(terminal.wait(), 0)
        self.wait_for('the session to be closed', lambda: self.agent.ops()[-1] == 'close')
        self.assertEqual((self.agent.ops(), self.honest.sessions), (['auth', 'account', 'open', 'close'], {}))

    def test_a_wrong_password_is_refused(self):
        terminal = self.ssh('alice@demo', 'id')
        terminal.expect('[Pp]assword: ')
        terminal.send('wrong')
        self.assertEqual(terminal.wait(), 255)
        self.assertNotIn('open', self.agent.ops())


class Names(Case):
    def test_names_and_numbers_are_looked_up(self):
        uid = UIDS['alice@demo']
        line = f'alice@demo:*:{uid}:{uid}:alice@demo:/home/alice@demo:/bin/bash\n'
        for key in ('alice@demo', str(uid)):
            self.assertEqual(subprocess.run(['getent', 'passwd', key], capture_output=True, text=True).stdout, line)
        self.assertIn(line, subprocess.run(['getent', 'passwd'], capture_output=True, text=True).stdout)
        members = f'members@demo:*:{node.FIRST + 65536}:alice@demo,bob@demo\n'
        self.assertEqual(subprocess.run(['getent', 'group', 'members@demo'], capture_output=True, text=True).stdout, members)
        self.assertIn(members, subprocess.run(['getent', 'group'], capture_output=True, text=True).stdout)
        for key in ('nobody@demo', str(uid + 999), '@', 'alice@'):
            self.assertEqual(subprocess.run(['getent', 'passwd', key], capture_output=True).returncode, 2, key)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('skipped: needs root')
        sys.exit(77)
    node.enter(BUILD, PROGRAMS)
    UIDS = {name: node.add_user(name, number) for number, name in enumerate(('alice@demo', 'bob@demo'), 1)}
    with open('/run/xos/group', 'a') as group:
        group.write(f'members@demo:x:{node.FIRST + 65536}:alice@demo,bob@demo\n')
    for home in ('alice@demo', 'bob@demo'):  # bash without bracketed paste and title: what comes back is what was printed
        node.write(f'/home/{home}/.bashrc', "PS1='$ '\nbind 'set enable-bracketed-paste off' 2>/dev/null\n")
        node.write(f'/home/{home}/.bash_profile', '. ~/.bashrc\n')
    subprocess.run(['cp', '/usr/bin/setpriv', '/run/rootid'], check=True)
    node.write('/run/rootid.c', '#include <unistd.h>\nint main(int c, char **v) { (void)c; if (setgid(0) || setuid(0)) return 99; execvp(v[1], v + 1); return 98; }\n')
    subprocess.run(['gcc', '-o', '/run/rootid', '/run/rootid.c'], check=True)
    node.mark('/run/rootid')
    os.chmod('/run/rootid', 0o4755)
    warnings.simplefilter('ignore', DeprecationWarning)  # of forking with threads; the child only calls exec
    unittest.main(verbosity=2, warnings='ignore')
