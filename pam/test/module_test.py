"""The real pam_xos.so through pam_start_confdir, with an agent that is right, wrong, slow, silent, lying or away.

module_test.py BUILD PROGRAMS   (root; CTest gives the folders). Runs under the sanitizers too: the driver is built with them.
"""
import os
import re
import subprocess
import sys
import unittest

import agent
import node

BUILD, PROGRAMS = sys.argv.pop(1), sys.argv.pop(1)
CONFIG, SOCKET = '/run/pam.d', '/run/xos/agent.sock'
SUCCESS, SESSION_ERR, USER_UNKNOWN, PERM_DENIED, AUTH_ERR, AUTHINFO_UNAVAIL, ACCT_EXPIRED, AUTHTOK_ERR, IGNORE = 0, 14, 10, 6, 7, 9, 13, 20, 25
AWAY = 'say The grid cannot be reached; try again later.'


def service(name, arguments='', after=''):
    lines = [f'{kind} required {node.LIB}/security/pam_xos.so {arguments}\n' + (f'{kind} {after}\n' if after else '')
             for kind in ('auth', 'account', 'session', 'password')]
    node.write(f'{CONFIG}/{name}', ''.join(lines))


class Module(unittest.TestCase):
    def setUp(self):
        self.honest = agent.Honest(UIDS)
        self.agent = agent.Agent(SOCKET, self.honest)

    def tearDown(self):
        self.agent.close()

    def drive(self, *steps, user='alice@demo', password='right', name='plain', env=None, prefix=()):
        result = subprocess.run([*prefix, f'{PROGRAMS}/driver', CONFIG, name, user, password, *steps], capture_output=True, text=True,
                                timeout=60, env={'PATH': '/usr/sbin:/usr/bin', 'ASAN_OPTIONS': 'detect_leaks=1', **(env or {})})
        self.assertEqual((result.returncode, result.stderr), (0, ''), result.stdout)
        lines = result.stdout.splitlines()
        self.assertEqual(lines.pop(), 'end')
        return lines

    def test_a_right_password_opens_a_session_and_close_undoes_it(self):
        lines = self.drive('auth', 'account', 'setcred', 'open', 'keys', 'env', 'close', 'keys', 'env')
        self.assertEqual(lines[:4], ['auth 0', 'account 0', 'setcred 0', 'open 0'])
        session = re.fullmatch(r'key \d+ user;0;0;0b000000;xos:session 65 ([0-9a-f]{32}):[0-9a-f]{32}', lines[4])
        self.assertTrue(session, lines[4])
        self.assertRegex(lines[5], r'^key \d+ user;0;0;0b050000;xos:credential \d+ -----BEGIN CERTIFICATE-----')
        close = lines.index('close 0')
        self.assertIn(f'env XOS_SESSION={session.group(1)}', lines[:close])
        self.assertIn('env XOS_VO=demo', lines[:close])
        self.assertIn('env XOS_NODE_NAME=n1', lines[:close])
        self.assertFalse([line for line in lines if 'LD_PRELOAD' in line or 'PATH' in line], 'the agent may not choose what code is loaded')
        self.assertEqual([line for line in lines[close + 1:] if not line.startswith(('-----', 'MA=='))],
                         ['key xos:session none', 'key xos:credential none'])
        self.assertEqual(self.agent.ops(), ['auth', 'account', 'open', 'close'])
        self.assertEqual(self.honest.sessions, {})
        opened = self.agent.seen[2]
        self.assertEqual((opened['service'], opened['user']), ('plain', 'alice@demo'))
        self.assertIn(f'key {opened["credential_key"]} ', lines[5])

    def test_refusals_are_polite_and_say_no_more_than_they_should(self):
        self.assertEqual(self.drive('auth', password='wrong'), ['say Login refused.', f'auth {AUTH_ERR}'])
        self.assertEqual(self.drive('auth', user='nobody@demo'), ['say Login refused.', f'auth {AUTH_ERR}'])
        self.assertEqual(self.drive('auth', user='alice@foo'), ["say The virtual organisation 'foo' is not known here.", f'auth {AUTH_ERR}'])
        self.honest.overrides['account'] = agent.answer('expired')
        self.assertEqual(self.drive('account'), ["say The membership of 'alice' in 'demo' has expired.", f'account {ACCT_EXPIRED}'])
        self.honest.overrides['account'] = agent.answer('denied', reason='%n%n%s%s')
        self.assertEqual(self.drive('account'), ['say Login refused.', f'account {PERM_DENIED}'])

    def test_users_of_the_node_and_malformed_names_never_reach_the_agent(self):
        self.assertEqual(self.drive('auth', user='root', name='fallback'), [f'auth 0'])
        for user in ('a@b@c', '@demo', 'alice@', '../x@demo', 'a%n@demo', 'a' * 64 + '@demo'):
            self.assertEqual(self.drive('auth', user=user), [f'auth {USER_UNKNOWN}'], user)
        self.assertEqual(self.drive('auth', password=''), [f'auth {AUTH_ERR}'])
        self.assertEqual(self.agent.seen, [])

    def test_a_name_that_is_asked_for_is_used(self):
        self.assertEqual(self.drive('auth', user=''), ['auth 0'])

    def test_passwords_of_any_bytes_arrive(self):
        for password in ('a b=c\nd%41', 'ä€𝄞', '=' * 500, "'\"\\$(x)"):
            self.honest.password = password
            self.assertEqual(self.drive('auth', password=password), ['auth 0'], password)

    def test_a_broken_agent_is_the_grid_that_cannot_be_reached(self):
        ok = agent.answer('ok')[:-2]
        broken = [b'', b'\n\n', b'status=ok\n', b'x' * 70000, b'status=ok\nuser=' + b'a' * 70000 + b'\n\n', b'\0' * 100, [ok, 2.0], [2.0],
                  ok + b'\nuser=alice@demo\nhandle=%00\n\n', ok + b'\nuser=alice@demo\n\n', ok + b'\nuser=root\nhandle=1\n\n',
                  ok + b'\nhandle=1\n\n', ok + b'\nuser=alice@demo\nhandle=\n\n', agent.answer('ok', user='alice@demo', handle='h' * 5000)[:-1],
                  agent.answer('unavailable', reason='XOS_REGISTRY_AWAY')]
        for reply in broken:
            self.honest.overrides['auth'] = reply
            self.assertEqual(self.drive('auth', name='quick'), [AWAY, f'auth {AUTHINFO_UNAVAIL}'], reply[:40])
        self.agent.close()
        for step in ('auth', 'account'):
            self.assertEqual(self.drive(step), [AWAY, f'{step} {AUTHINFO_UNAVAIL}'])

    def test_an_open_that_goes_wrong_leaves_nothing(self):
        good = dict(session='0' * 32, secret='1' * 32, uid=UIDS['alice@demo'], gid=UIDS['alice@demo'])
        for change, closes in (({'session': 'x'}, False), ({'session': '0' * 31}, False), ({'session': '0' * 31 + 'G'}, False), ({'secret': ''}, True),
                               ({'secret': '0' * 33}, True), ({'uid': 0}, True), ({'uid': 1000}, True), ({'uid': -1}, True), ({'uid': '0x70000001'}, True),
                               ({'uid': UIDS['alice@demo'] + 1}, True), ({'gid': 0}, True), ({'gid': UIDS['alice@demo'] + 1}, True),
                               ({'credential': 'c' * 40000}, True), ({'env__BIG': 'v' * 9000}, True)):
            self.agent.seen.clear()
            self.honest.overrides['open'] = agent.answer('ok', **{**good, **change})
            self.honest.overrides['close'] = agent.answer('ok')
            lines = self.drive('auth', 'open', 'keys', 'env', 'namespace', 'close')
            self.assertEqual(lines[:5], ['auth 0', AWAY, f'open {SESSION_ERR}', 'key xos:session none', 'key xos:credential none'], change)
            self.assertEqual(lines[5], f'namespace {os.readlink("/proc/self/ns/user")}')  # so no variable is left either
            self.assertEqual(self.agent.ops(), ['auth', 'open'] + ['close'] * closes, change)
        self.honest.overrides['open'] = agent.answer('denied', reason='XOS_POLICY')
        self.assertEqual(self.drive('auth', 'open', 'keys')[1:],
                         ['say Login refused.', f'open {PERM_DENIED}', 'key xos:session none', 'key xos:credential none'])
        for reply in (b'', [2.0], agent.answer('ok')):
            self.honest.overrides['open'] = reply
            self.assertEqual(self.drive('auth', 'open', 'keys', name='quick')[1:],
                             [AWAY, f'open {SESSION_ERR}', 'key xos:session none', 'key xos:credential none'])

    def test_a_user_the_name_service_does_not_know_gets_no_session(self):
        self.honest.uids = {**UIDS, 'ghost@demo': node.FIRST + 65536 + 99}
        self.assertEqual(self.drive('auth', 'open', user='ghost@demo'), ['auth 0', AWAY, f'open {SESSION_ERR}'])
        self.assertEqual(self.honest.sessions, {})

    def test_a_refused_open_can_be_tried_again_and_a_second_one_is_refused(self):
        replies = [agent.answer('unavailable'), None]

        def first_unavailable(request):
            return replies.pop(0) or self.honest.on_open(request)
        self.honest.overrides['open'] = first_unavailable
        self.assertEqual(self.drive('auth', 'open', 'open', 'open', 'close', 'close'),
                         ['auth 0', AWAY, f'open {SESSION_ERR}', 'open 0', f'open {SESSION_ERR}', f'close {PERM_DENIED}', f'close {PERM_DENIED}'])
        # (libpam answers a close as the open before it was answered.) It was closed nevertheless, and once:
        self.assertEqual((self.honest.sessions, self.agent.ops().count('close')), ({}, 1))

    def test_without_authentication_there_is_no_session(self):
        self.assertEqual(self.drive('open', 'keys'), ['say Login refused.', f'open {PERM_DENIED}', 'key xos:session none', 'key xos:credential none'])
        self.assertNotIn('handle', self.agent.seen[0])
        self.assertEqual(self.drive('open', 'keys', 'close', name='rootok'), ['open 0', 'key xos:session none', 'key xos:credential none', 'close 0'])
        self.assertEqual(self.agent.ops(), ['open'])

    def test_the_handle_crosses_to_another_process_only_where_asked_for_and_is_gone_afterwards(self):
        self.assertEqual(self.drive('auth', 'env'), ['auth 0'])
        lines = self.drive('auth', 'env', 'open', 'env', name='sshd')
        self.assertRegex(lines[1], r'^env XOS_LOGIN_HANDLE=[0-9a-f]{32}$')
        self.assertFalse([line for line in lines[2:] if 'HANDLE' in line])

    def test_keys_go_also_when_the_agent_is_away_at_logout(self):
        self.honest.overrides['close'] = b''
        self.assertEqual([line for line in self.drive('auth', 'open', 'close', 'keys') if not line.startswith('say')],
                         ['auth 0', 'open 0', 'close 0', 'key xos:session none', 'key xos:credential none'])

    def test_the_environment_of_the_caller_is_not_read(self):
        evil = {'XOS_LOGIN_HANDLE': '0' * 32, 'XOS_AGENT_SOCKET': '/tmp/evil', 'XOS_SESSION': '0' * 32}
        self.assertEqual(self.drive('open', env=evil), ['say Login refused.', f'open {PERM_DENIED}'])
        self.assertNotIn('handle', self.agent.seen[0])

    def test_a_session_is_in_namespaces_where_unmarked_programs_are_handed_over(self):
        before = f'namespace {os.readlink("/proc/self/ns/user")}'
        lines = self.drive('auth', 'open', 'namespace', 'exec:/usr/bin/true', 'exec:/run/local', 'close', name='exec')
        self.assertEqual(lines[:2], ['auth 0', 'open 0'])
        self.assertNotEqual(lines[2], before)
        self.assertEqual(lines[3:], ['handed over, flags 1', '</usr/bin/true>', '</usr/bin/true>', '<a b>', 'exec 42', 'exec 0', 'close 0'])

    def test_programs_stay_local_with_a_line_when_they_cannot_be_handed_over(self):
        before = f'namespace {os.readlink("/proc/self/ns/user")}'
        for name, why in (('missing', r"cannot open '/run/missing': No such file or directory"), ('unmarked', r"'/usr/bin/true' carries no mark of a local program"),
                          ('script', r"'/run/script' carries no mark of a local program"), ('odd', r"'relative' is no path for an interpreter")):
            lines = self.drive('auth', 'open', 'namespace', 'exec:/usr/bin/true', 'close', name=name)
            self.assertEqual(lines, ['auth 0', f'say Programs of this session stay on this node: {why}.', 'open 0', before, 'exec 0', 'close 0'])
            self.assertEqual(self.drive('auth', 'quiet-open', name=name), ['auth 0', 'quiet-open 0'])

    def test_a_caller_that_cannot_move_stays_where_it_was(self):
        before = f'namespace {os.readlink("/proc/self/ns/user")}'
        threaded = self.drive('thread', 'auth', 'open', 'namespace', 'exec:/usr/bin/true', 'close', 'keys', name='exec')
        self.assertEqual(threaded, ['auth 0', "say Programs of this session stay on this node: cannot join the session's namespaces: Invalid argument.", 'open 0', before,
                                    'exec 0', 'close 0', 'key xos:session none', 'key xos:credential none'])
        os.makedirs('/run/jail', exist_ok=True)
        jail = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', 'mount --rbind / /run/jail && exec chroot /run/jail "$@"', '-']
        jailed = self.drive('auth', 'open', 'namespace', 'exec:/usr/bin/true', 'close', name='exec', prefix=jail)
        self.assertEqual(jailed, ['auth 0', 'say Programs of this session stay on this node: cannot make a user namespace: Operation not permitted.', 'open 0', before, 'exec 0', 'close 0'])
        self.assertEqual(self.honest.sessions, {})

    def test_a_password_is_changed_by_the_registry(self):
        self.assertEqual(self.drive('password'), ['password 0'])
        self.assertEqual(self.agent.seen, [{'op': 'password', 'user': 'alice@demo', 'old': 'right', 'new': 'changed'}])
        self.assertEqual(self.drive('password'), ['say The password was not changed.', f'password {AUTHTOK_ERR}'])
        for message, said in (('it has fewer than 8 characters', ': it has fewer than 8 characters'), ('a\x1b[2J', ''), ('x' * 201, ''), ('%s%n', ': %s%n')):
            self.honest.overrides['password'] = agent.answer('denied', reason='XOS_BAD_PASSWORD', message=message)
            self.assertEqual(self.drive('password'), [f'say The password was not changed{said}.', f'password {AUTHTOK_ERR}'])


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('skipped: needs root')
        sys.exit(77)
    node.enter(BUILD, PROGRAMS)
    UIDS = {'alice@demo': node.add_user('alice@demo', 1)}
    node.write('/run/script', '#!/bin/sh\n', 0o755)
    subprocess.run(['cp', '/usr/bin/true', '/run/local'], check=True)
    node.mark('/run/local')
    service('plain', 'no_exec')
    service('quick', 'no_exec timeout_ms=300')
    service('fallback', 'no_exec', after='required pam_permit.so')
    service('rootok', 'no_exec no_handle=ignore', after='required pam_permit.so')
    service('sshd', 'no_exec handle_env')
    service('exec')
    for name, path in (('missing', '/run/missing'), ('unmarked', '/usr/bin/true'), ('script', '/run/script'), ('odd', 'relative')):
        service(name, f'interpreter={path}')
    unittest.main(verbosity=2)
