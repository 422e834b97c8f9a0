// A guest with a relay and the groups of two VOs, without xosd (which takes minutes to come up under TCG): what xosd decides and runs is decided
// here by the same code of src/isolation, and run in the guest.
import type { Disk, Spawn } from '../../../src/core/ports.ts'
import { ensureGroup, findDisks, type GroupPorts } from '../../../src/isolation/groups.ts'
import { merge, type Policy } from '../../../src/isolation/policy.ts'
import { uidOf } from '../../../src/account/uid.ts'
import { testIdentity } from '../../support/nodes.ts'
import { testVo } from '../../vo/authority.ts'
import type { Finished } from '../support/agent.ts'
import { bootGuest, type Context, type Guest, type GuestOptions } from '../support/guest.ts'

export interface VoGuest {
  readonly g: Guest
  readonly ports: GroupPorts
  /** Makes the groups of a VO as `policy` wants them and tells the relay; `cells`: how its cells are narrowed. Path of the VO's slice. */
  limit (vo: string, policy: Policy, cells?: Readonly<Record<string, boolean>>): Promise<string>
  /** A line of sh as a job of the VO's one member. */
  job (vo: string, line: string, timeout_ms?: number): Promise<Finished>
}

const vos = ['demo', 'a', 'b']
const uid = (vo: string): number => uidOf(vos.indexOf(vo) + 1, 1)
const session = (vo: string): string => Buffer.from(vo.padEnd(16, '-')).toString('hex')
const secret = '0123456789abcdef'.repeat(2)

/** keyctl(1) makes a session keyring, as pam_xos does; the program in it is started by its relay, in a cell. */
const in_session = `session=$1 uid=$2 line=$3
cd / && exec keyctl session - sh -c 'keyctl add user xos:session "$0:${secret}" @s > /dev/null && exec setpriv --reuid=$1 --regid=$1 --clear-groups xrun --node n1 sh -c "$2"' $session $uid "$line"`

export async function bootVoGuest (t: Context, options: GuestOptions = {}): Promise<VoGuest> {
  const g = await bootGuest(t, { name: 'n1', ...options })
  const identity = await testIdentity(await testVo(), 'n1')
  for (const [name, text] of [['key', identity.key], ['cert', identity.chain], ['ca', identity.ca]] as const) await g.put(Buffer.from(text), `/var/lib/xos/node/${name}.pem`, '0600')
  await g.put(Buffer.from('NODE=n1\nVO=demo\n'), '/run/xos/node.env')
  await g.put(Buffer.from(in_session), '/run/in-session')
  await g.put(Buffer.from(controller), '/run/control')
  await g.must('modprobe nft_socket; systemctl start xos-relayd')
  await g.until('test -S /run/xos/relayd.ctl')
  const control = async (...requests: object[]): Promise<void> => {
    const said = await g.must('python3 /run/control', { input: requests.map((request) => `${JSON.stringify(request)}\n`).join(''), timeout_ms: 120_000 })
    for (const answer of said.trim().split('\n')) if ((JSON.parse(answer) as { ok: boolean }).ok !== true) throw new Error(answer)
  }
  const table = [{ node: 'n1', cpus: 2, running: 0, load: 0, memory_free_bytes: 1 << 29, eligible: true }]
  await control({ op: 'placement', nodes: table }, ...vos.map((vo) => ({
    op: 'session-add', session: session(vo), secret, uid: uid(vo), gid: uid(vo), groups: [], user: `x@${vo}`, vo, home: '', origin: 'n1', expires_ms: 2 ** 52,
  })))
  const spawn: Spawn = {
    async run (program, args, options = {}) {
      const line = [program, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
      const { status, stdout, stderr } = await g.run(line, { timeout_ms: 180_000, ...(options.input === undefined ? {} : { input: options.input }) })
      return { exit_code: status, exit_signal: null, stdout, stderr }
    },
  }
  const read = async (path: string): Promise<Buffer | null> => {
    const { status, stdout } = await g.run(`cat '${path}'`)
    return status === 0 ? Buffer.from(stdout) : null
  }
  const list = async (path: string): Promise<readonly string[]> => (await g.must(`ls '${path}'`)).trim().split('\n')
  const facts = async (path: string): Promise<{ kind: 'other' } | null> => ((await g.run(`test -e '${path}'`)).status === 0 ? { kind: 'other' } : null)
  const ports = { spawn, disk: { read, list, facts } as unknown as Disk }
  return {
    g, ports,
    async limit (vo, policy, cells = {}) {
      const effective = merge(policy, {})
      const { directory, fence, settings, slice } = await ensureGroup('systemd', vo, effective, await findDisks(ports), ports, new AbortController().signal)
      const memory = effective.values['memory.max'].value
      await control({ op: 'vo-limits', vo, cells, directory, fence, settings, ...(memory === 'max' ? {} : { memory_max: Number(memory) }) })
      return `/sys/fs/cgroup/${slice}`
    },
    job: (vo, line, timeout_ms = 120_000) => g.run(`sh /run/in-session ${session(vo)} ${uid(vo)} '${line.replaceAll("'", "'\\''")}'`, { timeout_ms }),
  }
}

const controller = `import json, socket, sys
relay = socket.socket(socket.AF_UNIX)
relay.connect('/run/xos/relayd.ctl')
stream = relay.makefile('rw')
for line in sys.stdin:
    stream.write(json.dumps(dict(json.loads(line), id=1)) + '\\n')
    stream.flush()
    while True:
        answer = json.loads(stream.readline())
        if answer.get('id') == 1:
            print(json.dumps(answer))
            break
`
