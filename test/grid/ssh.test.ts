// ssh between nodes: Debian's OpenSSH, certificates of the VO, sessions on both sides.
//
//   n1 (registry of VO demo) ─── n2      members: alice, bob and carol
import test from 'ava'
import { expectDone, gridFor } from './support/grid.ts'
import { asked, dialogue, prompt } from './support/login.ts'

const grid = gridFor(test, { nodes: 2, users: ['bob', 'carol'] })
const password = 'carols-own-secret'
const quiet = '-o BatchMode=yes -o LogLevel=ERROR'

const sessions = async (): Promise<number> => (await grid.status()).nodes.reduce((sum, node) => sum + (node.sessions ?? 0), 0)
const noSessions = (): Promise<void> => grid.until('no session is left', async () => await sessions() === 0)
const logOf = async (node: string): Promise<string> => (await grid.root(node, 'cat /var/log/xos/xosd/current /var/log/xos/ssh/current')).stdout

test.serial('sshd of every node has a certificate that names it', async (t) => {
  for (const node of ['n1', 'n2']) {
    await grid.until(`sshd of ${node} shows its certificate`, async () => (await grid.root(node, 'ssh-keygen -L -f /var/lib/xos/ssh/host-cert.pub')).status === 0)
    const { stdout } = await grid.root(node, 'ssh-keygen -L -f /var/lib/xos/ssh/host-cert.pub; stat -c "%U %a %n" /var/lib/xos/ssh /var/lib/xos/ssh/* /run/xos/ssh-agent')
    t.regex(stdout, new RegExp(`Key ID: "xos://demo/node/${node}"[^]*Principals:\\s+${node}\\.demo\\.xos\\s+${node}\\s`))
    t.regex(stdout, /root 711 \/run\/xos\/ssh-agent/)
    t.notRegex(stdout, /^[^\n]* [0-7]*[2367][0-7]? \/var\/lib\/xos\/ssh/m, 'nobody but root writes there')
  }
})

test.serial('from node to node and back nobody is asked anything, and each login has a session of its own', async (t) => {
  const { stdout, stderr, status } = await grid.exec(`echo $XOS_SESSION; ssh ${quiet} n2 'hostname; id -un; pwd; echo $XOS_SESSION $XOS_NODE_HOME; xrun --node n1 python3 -c "import socket; print(socket.gethostname())"; ssh ${quiet} n1 "hostname; echo \\$XOS_SESSION"'; ls -A ~/.ssh 2>/dev/null`)
  t.is(status === 0 || status === 2 ? stderr : `${status}: ${stderr}`, '')
  const [first, host, user, home, second, ran, back, third] = stdout.trim().split('\n')
  t.deepEqual([host, user, home, ran, back], ['n2', 'alice@demo', '/home/alice', 'n1', 'n1'])
  t.regex(second ?? '', /^[0-9a-f]{32} n2$/)
  t.is(new Set([first, second?.split(' ')[0], third]).size, 3, 'three sessions')
  t.is((await grid.exec('test -e ~/.ssh/known_hosts')).status, 1, 'no host key was taken up')
  await noSessions()
})

test.serial('a password opens a session by sshd, also the first one of a member that the node has never seen', async (t) => {
  await expectDone(grid.root('n1', 'xvo member passwd demo carol --password-stdin', { input: `${password}\n` }), 'xvo member passwd')
  const ssh = ['/usr/bin/ssh', '-o', 'IdentityAgent=none', '-o', 'LogLevel=ERROR', '-o', 'NumberOfPasswordPrompts=1', '-o', 'PreferredAuthentications=keyboard-interactive', '-l', 'carol@demo', 'n2']
  const done = await dialogue(grid, 'n1', ssh, [...asked(password), ['expect', prompt], ['run', 'id -un; pwd; hostname; keyctl show | grep -c xos:; /usr/bin/true; echo $?'], ['send', 'exit'], ['end']])
  t.is(done.error, null)
  t.is(done.results[0]?.output, 'carol@demo\n/home/carol\nn2\n2\n0\n')
  t.is((await dialogue(grid, 'n1', ssh, [...asked('wrong'), ['expect', 'Permission denied']])).error, null)
  await noSessions()
})

test.serial('a key in a home opens nothing, nor does the certificate of another user, or one without its origin', async (t) => {
  await grid.exec(`mkdir -m 700 -p ~/.ssh; ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id; cp ~/.ssh/id.pub ~/.ssh/authorized_keys; cp ~/.ssh/id.pub ~/none`)
  const own = await grid.exec(`ssh ${quiet} -o IdentityAgent=none -i ~/.ssh/id n2 id`)
  t.is(own.status, 255)
  const asBob = await grid.exec(`ssh ${quiet} -l bob@demo n2 id; ssh ${quiet} -l root n2 id`)
  t.is(asBob.status, 255)
  t.is(asBob.stdout, '')
  // Another user's agent, and the certificate alone, are of no use either.
  const running = grid.startExec('echo $SSH_AUTH_SOCK; exec xlocal sleep 1000')
  const [socket] = await running.seen(/\/run\/xos\/ssh-agent\/[0-9a-f]{32}/)
  const stolen = await grid.exec(`id -un; SSH_AUTH_SOCK=${socket} ssh-add -l 2>&1; ls /run/xos/ssh-agent 2>&1`, { user: 'bob@demo' })
  t.regex(stolen.stdout, /^bob@demo\n(?!256)[^]*Permission denied/)
  t.regex(await logOf('n1'), /a connection to an ssh agent was refused/)
  running.kill('SIGTERM')
  await running.finished
  const { stdout } = await grid.exec(`ssh-add -L > ~/cert.pub; echo x | ssh-keygen -Y sign -f ~/cert.pub -n file - 2>&1; rm ~/cert.pub; rm -r ~/.ssh ~/none`)
  t.notRegex(stdout, /BEGIN SSH SIGNATURE/, 'the agent signs logins and nothing else')
  t.regex(await logOf('n1'), /did not sign what is no login of its user/)
})

test.serial('an agent that is given rubbish closes the line or says no, and goes on', async (t) => {
  const script = String.raw`
import os, socket, struct
path = os.environ['SSH_AUTH_SOCK']
def ask(data):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10); peer.connect(path)
        try:
            peer.sendall(data); peer.shutdown(socket.SHUT_WR)
            got = b''
            while part := peer.recv(65536): got += part
            return got
        except (BrokenPipeError, ConnectionResetError): return b''
frame = lambda data: struct.pack('>I', len(data)) + data
text = lambda data: struct.pack('>I', len(data)) + data
print(ask(frame(b'\x0b'))[4], ask(b'\0\0\0\0'), ask(b'\xff' * 70000), ask(frame(b'\x0d' + b'\xff' * 100))[4:], ask(frame(b'\x0d' + text(b'key') + text(b'data') + b'\0' * 4))[4:], ask(frame(b'\x1b' + b'x' * 60000))[4:], ask(b'\0\0'))
print(ask(frame(b'\x0b') * 3).count(b'ssh-ed25519-cert-v01') >= 3)`
  const { stdout, stderr } = await grid.exec(['xlocal', 'python3', '-c', script])
  t.is(`${stdout}${stderr}`, "12 b'' b'' b'\\x05' b'\\x05' b'\\x05' b''\nTrue\n")
})

test.serial('what one member tries in vain does not shut out the others of the node', async (t) => {
  for (let attempt = 0; attempt < 6; attempt++) t.not((await grid.exec(`ssh ${quiet} -l root n2 id`, { user: 'bob@demo' })).status, 0)
  t.is((await grid.exec(`ssh ${quiet} n2 id -un`)).stdout, 'alice@demo\n')
})

test.serial('a member who is revoked during a session by ssh is out on both nodes within ten seconds, and stays out', async (t) => {
  const running = grid.startExec(`ssh ${quiet} n2 'echo begun; sleep 1000'`, { user: 'bob@demo' })
  await running.seen(/begun/)
  const began = performance.now()
  await expectDone(grid.root('n1', 'xvo member revoke demo bob'), 'xvo member revoke')
  await running.finished
  await grid.until('no process of bob is left', async () => (await Promise.all(['n1', 'n2'].map((node) => grid.root(node, 'pgrep -u bob@demo')))).every(({ status }) => status === 1), 20_000)
  t.log(`out after ${((performance.now() - began) / 1000).toFixed(1)} s`)
  await grid.until('the revocation list of sshd names bob', async () => (await grid.root('n2', 'ssh-keygen -Q -l -f /var/lib/xos/ssh/revoked.krl')).stdout.includes('xos://demo/user/bob/'))
  await noSessions()
  t.not((await grid.exec('id', { user: 'bob@demo' })).status, 0)
})

test.serial('a uid or a name that a local account has taken keeps the member out, and the log says why', async (t) => {
  await expectDone(grid.root('n2', 'cp /etc/passwd /etc/passwd.kept; echo "squatter:x:1879113729:100::/:/bin/sh" >> /etc/passwd'), 'add the account')
  const refused = await grid.exec('id', { node: 'n2' })
  t.is(refused.stdout, '')
  t.regex(refused.stderr, /Login refused\./)
  t.regex(await logOf('n2'), /XOS_UID_TAKEN.*squatter/)
  t.is((await grid.exec(`ssh ${quiet} n2 id`)).status === 0, false)
  await expectDone(grid.root('n2', 'mv /etc/passwd.kept /etc/passwd'), 'take the account away')
  t.is((await grid.exec('id -un', { node: 'n2' })).stdout, 'alice@demo\n')
})
