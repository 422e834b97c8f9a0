"""The real pam_xos.so through pam_start_confdir, with an agent that is right, wrong, slow, silent, lying or away.

module_test.py BUILD PROGRAMS   (root; CTest gives the folders). Runs under the sanitizers too: the driver is built with them.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import unittest

import agent
import node

BUILD, PROGRAMS = sys.argv.pop(1), sys.argv.pop(1)
CONFIG, SOCKET = '/run/pam.d', '/run/xos/agent.sock'
SUCCESS, SESSION_ERR, USER_UNKNOWN, PERM_DENIED, AUTH_ERR, AUTHINFO_UNAVAIL, ACCT_EXPIRED, AUTHTOK_ERR, IGNORE = 0, 14, 10, 6, 7, 9, 13, 20, 25
NEW_AUTHTOK_REQD = 12
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
        self.assertEqual(self.agent.seen, [{'op': 'password', 'user': 'alice@demo', 'old': 'right', 'new': 'changed', 'service': 'plain'}])
        self.assertEqual(self.drive('password'), ['say The password was not changed.', f'password {AUTHTOK_ERR}'])
        for message, said in (('it has fewer than 8 characters', ': it has fewer than 8 characters'), ('a\x1b[2J', ''), ('x' * 201, ''), ('%s%n', ': %s%n')):
            self.honest.overrides['password'] = agent.answer('denied', reason='XOS_BAD_PASSWORD', message=message)
            self.assertEqual(self.drive('password'), [f'say The password was not changed{said}.', f'password {AUTHTOK_ERR}'])

    def test_the_rule_that_a_password_breaks_is_told(self):
        for fields, said in ((dict(rule='short', least=12), ': it needs at least 12 characters'), (dict(rule='used', count=3), ': it must differ from your last 3'),
                             (dict(rule='short', least='%s'), ''), (dict(rule='odd'), '')):
            self.honest.overrides['password'] = agent.answer('denied', reason='XOS_BAD_PASSWORD', **fields)
            self.assertEqual(self.drive('password'), [f'say The password was not changed{said}.', f'password {AUTHTOK_ERR}'])
        self.honest.overrides['password'] = agent.answer('denied', reason='XOS_WRONG_PASSWORD', delay_ms=2000)
        self.assertRegex('|'.join(self.drive('password')), r'current password is wrong')

    def test_a_password_that_has_expired_is_changed_before_the_session_opens(self):
        self.honest.expired = True
        self.assertEqual(self.drive('auth', 'account', 'open'),
                         ['auth 0', 'say Your password has expired; choose a new one.', f'account {NEW_AUTHTOK_REQD}', 'say Login refused.', f'open {PERM_DENIED}'])
        handle = self.agent.seen[1]['handle']
        self.agent.seen.clear()
        lines = self.drive('auth', 'account', 'expired', 'account', 'open', 'close', name='sshd')
        self.assertEqual([line for line in lines if not line.startswith('say')], ['auth 0', f'account {NEW_AUTHTOK_REQD}', 'expired 0', 'account 0', 'open 0', 'close 0'])
        change = self.agent.seen[2]
        self.assertEqual((change['op'], change['handle']), ('password', self.agent.seen[1]['handle']))
        self.assertNotEqual(change['handle'], handle)

    def test_failures_are_slowed_down_as_the_agent_says(self):
        for fields, least, most in ((dict(delay_ms=4000), 2, 6), (dict(delay_ms=999999999), 5, 15)):
            self.honest.overrides['auth'] = agent.answer('denied', reason='XOS_WRONG_PASSWORD', **fields)
            lines = self.drive('auth')
            self.assertEqual((lines[0], lines[-1]), ('say Login refused.', f'auth {AUTH_ERR}'))
            delay = float(re.fullmatch(r'delay (\d+\.\d+)', lines[1]).group(1))
            self.assertTrue(least <= delay <= most, f'{delay} is not about what was asked for')  # what libpam was asked for, not time
        for odd in ('-1', '1e9', '99999999999', '', 'x'):
            self.honest.overrides['auth'] = agent.answer('denied', reason='XOS_WRONG_PASSWORD', delay_ms=odd)
            self.assertEqual(self.drive('auth'), ['say Login refused.', f'auth {AUTH_ERR}'], odd)

    def test_who_is_locked_reads_for_how_long(self):
        for ms, said in ((29001, 'Too many failed logins; try again in 30 seconds.'), ('x', 'Login refused.')):
            self.honest.overrides['auth'] = agent.answer('denied', reason='XOS_LOCKED', retry_after_ms=ms)
            self.assertEqual(self.drive('auth'), [f'say {said}', f'auth {AUTH_ERR}'])

    def test_setcred_renews_and_deletes_the_credential_of_the_open_session(self):
        self.assertEqual(self.drive('auth', 'refresh', 'delete'), ['auth 0', 'refresh 0', 'delete 0'], 'nothing is open')
        lines = self.drive('auth', 'open', 'refresh', 'delete', 'keys', 'refresh', 'close')
        self.assertEqual(self.agent.ops()[-4:], ['open', 'refresh', 'refresh', 'close'])
        self.assertIn('key xos:credential none', lines)
        self.assertTrue([line for line in lines if 'xos:session 65' in line], 'the session itself goes on')
        self.honest.overrides['refresh'] = agent.answer('denied', reason='XOS_REVOKED')
        self.assertIn('refresh 0', self.drive('auth', 'open', 'refresh', 'close'), 'a renewal that fails is no failure of who asks')

    def test_a_session_without_the_vo_says_so(self):
        self.honest.overrides['open'] = lambda request: self.honest.on_open(request).replace(b'credential=', b'notice=offline\nenv.XOS_X=')
        self.assertEqual(self.drive('auth', 'open', 'keys')[1:3],
                         ['say The grid cannot be reached: you are logged in to this node only, and programs stay here.', 'open 0'])

    def test_a_certificate_that_sshd_accepted_opens_a_session_only_where_the_line_allows_it(self):
        self.honest.ssh = 'publickey ssh-ed25519-cert-v01@openssh.com AAAA'
        info = 'putenv:SSH_AUTH_INFO_0=publickey ssh-ed25519-cert-v01@openssh.com AAAA+/=\n'
        self.assertEqual(self.drive(info, 'open', name='plain')[-1], f'open {PERM_DENIED}')
        self.assertNotIn('ssh', self.agent.seen[-1])
        self.assertEqual(self.drive(info, 'open', 'close', name='certificate')[-2:], ['open 0', 'close 0'])
        self.assertEqual(self.agent.seen[-2]['ssh'], 'publickey ssh-ed25519-cert-v01@openssh.com AAAA+/=\n')
        evil = {'SSH_AUTH_INFO_0': 'publickey ssh-ed25519-cert-v01@openssh.com AAAA'}
        self.assertEqual(self.drive('open', name='certificate', env=evil), ['say Login refused.', f'open {PERM_DENIED}'], "the caller's environment is not PAM's")

    def test_messages_are_in_the_language_of_the_system(self):
        shutil.copytree(f'{BUILD}/locale', '/usr/lib/xos/locale', dirs_exist_ok=True)
        try:
            for settings, said in (('LANG=de_DE.UTF-8\n', 'Anmeldung abgelehnt.'), ('LANG="fr_CA.UTF-8"', 'Connexion refusée.'), ('# x\nLANG=de_DE\nLC_MESSAGES=es_ES.UTF-8\n', 'Acceso denegado.'),
                                   ('LANG=../../../../tmp/de\n', 'Login refused.'), ('LANG=/tmp/de\n', 'Login refused.'), ('LANG=\n', 'Login refused.'), ('LANG=' + 'd' * 5000, 'Login refused.'),
                                   ('LANG=C.UTF-8\n', 'Login refused.'), ('', 'Login refused.')):
                node.write('/etc/default/locale', settings)
                # What the caller has in its environment is of no account.
                self.assertEqual(self.drive('auth', password='wrong', env={'LANG': 'fr_FR.UTF-8', 'LANGUAGE': '../../../tmp/x:fr', 'NLSPATH': '/tmp/%N', 'LC_ALL': 'es_ES.UTF-8'}),
                                 [f'say {said}', f'auth {AUTH_ERR}'], settings)
            node.write('/etc/default/locale', 'LANG=de_DE.UTF-8\n')
            self.assertEqual(self.drive('auth', user='alice@foo')[0], "say Die virtuelle Organisation 'foo' ist hier nicht bekannt.")
        finally:
            os.unlink('/etc/default/locale')

    def test_a_catalogue_that_is_damaged_is_passed_over(self):
        path = '/usr/lib/xos/locale/de/LC_MESSAGES/xos-pam.mo'
        with open(f'{BUILD}/locale/de/LC_MESSAGES/xos-pam.mo', 'rb') as file:
            good = file.read()
        node.write('/etc/default/locale', 'LANG=de\n')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        swapped = good.replace("Organisation '%s' ist".encode(), "Organisation '%n' ist".encode())
        self.assertNotEqual(swapped, good)
        broken = [b'', good[:27], good[:200], good[:8] + b'\xff' * 20 + good[28:], good[:-1], b'\xff' * 4096, swapped]
        try:
            for data in broken:
                with open(path, 'wb') as file:
                    file.write(data)
                self.assertIn(self.drive('auth', user='alice@foo')[0], ("say The virtual organisation 'foo' is not known here.", "say Die virtuelle Organisation 'foo' ist hier nicht bekannt."))
            self.assertEqual(self.drive('auth', user='alice@foo')[0], "say The virtual organisation 'foo' is not known here.", 'conversions that differ')
        finally:
            shutil.rmtree('/usr/lib/xos/locale')
            os.unlink('/etc/default/locale')

    def test_every_sentence_is_in_every_catalogue(self):
        said = set()
        for path in glob.glob(f'{node.SOURCE}/pam_xos/*.c'):
            with open(path) as file:
                said.update(re.findall(r'xos_say\(pamh, PAM_\w+, "((?:[^"\\\\]|\\\\.)*)"', file.read()))
        self.assertGreater(len(said), 10)
        for language in ('de', 'es', 'fr'):
            with open(f'{node.SOURCE}/po/{language}.po') as file:
                known = dict(re.findall(r'msgid "(.*)"\nmsgstr "(.*)"', file.read()))
            self.assertEqual(said - {text for text, translation in known.items() if translation}, set(), language)

    def test_an_answer_of_64_kib_is_read_and_no_word_of_it_is_a_format(self):
        self.honest.overrides['password'] = agent.answer('denied', reason='XOS_BAD_PASSWORD', message='%s' * 15000)
        self.assertEqual(self.drive('password'), ['say The password was not changed.', f'password {AUTHTOK_ERR}'])
        self.honest.overrides['password'] = agent.answer('denied', reason='XOS_BAD_PASSWORD', message='%s' * 32768)
        said = self.drive('password')
        self.assertTrue(said[-1].startswith('password ') and said[-1] != 'password 0', said[-1][:80])
        self.assertLess(max(map(len, said)), 200, 'a prompt of 64 KiB reaches nobody')
        for name in ('a' * 65536, 'a' * 65536 + '@demo', 'a@' + 'd' * 65536):
            self.assertIn(self.drive('auth', user=name)[-1], (f'auth {USER_UNKNOWN}', f'auth {IGNORE}', f'auth {PERM_DENIED}', f'auth {AUTHINFO_UNAVAIL}'))

    def test_a_password_longer_than_any_request_is_refused(self):
        self.honest.password = 'p' * 65000
        self.assertIn(self.drive('auth', password='p' * 65000)[-1], (f'auth {AUTHINFO_UNAVAIL}', f'auth {AUTH_ERR}'))


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
    service('certificate', 'no_exec ssh_certificate')
    service('exec')
    for name, path in (('missing', '/run/missing'), ('unmarked', '/usr/bin/true'), ('script', '/run/script'), ('odd', 'relative')):
        service(name, f'interpreter={path}')
    unittest.main(verbosity=2)
