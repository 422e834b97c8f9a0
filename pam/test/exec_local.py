"""exec_local.py BUILD [ROUNDS]: what a program that stays local costs in a session, against the same exec outside one.

Prints; asserts nothing. Two spawners take turns, one of a session (xenter) and one of the same user without, so that whatever else the
machine does falls on both. The bar of the personal grid is 1.05.
"""
import os
import statistics
import subprocess
import sys

import agent
import node

build, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60
node.enter(f'{build}/pam', f'{build}/pam/test')
uid = node.add_user('alice@demo', 1)
keep = agent.Agent('/run/xos/agent.sock', agent.Honest({'alice@demo': uid}))
for name, source in (('spawner', f'{build}/pam/test/spawner'), ('true', '/usr/bin/true')):
    subprocess.run(['cp', source, f'/run/{name}'], check=True)
    node.mark(f'/run/{name}')
read, write = os.pipe()
os.write(write, b'right\n')
os.close(write)
program = ['/run/spawner', '/run/true']
commands = {
    'outside': ['setpriv', '--reuid', str(uid), '--regid', str(uid), '--clear-groups', *program],
    'outside again': ['setpriv', '--reuid', str(uid), '--regid', str(uid), '--clear-groups', *program],
    'in the session': ['/usr/lib/xos/bin/xenter', '--password-fd', str(read), 'alice@demo', '--', *program],
}
spawners = {name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[read]) for name, command in commands.items()}
times = {name: [] for name in spawners}
for number in range(rounds + 3):
    for name in (list(spawners) if number % 2 else reversed(list(spawners))):
        spawners[name].stdin.write('100\n')
        spawners[name].stdin.flush()
        took = int(spawners[name].stdout.readline())
        if number >= 3:
            times[name].append(took / 100e3)
for spawner in spawners.values():
    spawner.stdin.close()
    spawner.wait()
for name, values in times.items():
    ratio = statistics.median(value / base for value, base in zip(values, times['outside']))
    print(f'{name:16} median {statistics.median(values):7.1f} us a spawn, ratio {ratio:.3f}')
