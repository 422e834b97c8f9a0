import type { Duplex } from 'node:stream';
import { XosError, asXosError, describe } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Listener } from '../core/ports.ts';
import type { Service } from '../core/service.ts';
import type { NodeContext } from '../daemon/context.ts';
import { AgentFramer, decodeFields, encodeFields, type AgentFields } from './agent-codec.ts';
import { endSession } from './end.ts';
import { authenticate, checkAccount } from './ops/authenticate.ts';
import { changePasswordHere } from './ops/change-password.ts';
import { openLogin } from './ops/open-login.ts';
import { renewLogin } from './ops/renew.ts';
import type { SessionParts } from './parts.ts';
import { killsOnLogout } from './policy.ts';
import { isGranted } from './table.ts';

type Answer = Readonly<Record<string, string | number | undefined>>;
type Operation = (parts: SessionParts, fields: AgentFields, signal: AbortSignal) => Promise<Answer>;

const need = (fields: AgentFields, key: string): string => {
  const value = fields.get(key);
  if (value === undefined || value === '') throw new XosError('XOS_MALFORMED', `the agent request lacks '${key}'`);
  return value;
};
const whereFrom = (fields: AgentFields): { readonly service: string; readonly tty: string; readonly rhost: string } => {
  const [service, tty, rhost] = ['service', 'tty', 'rhost'].map((key) => (fields.get(key) ?? '').slice(0, 255)) as [string, string, string];
  return { service, tty, rhost };
};
const integer = (text: string | undefined): number => (text !== undefined && /^[0-9]{1,10}$/.test(text) ? Number(text) : 0);

const operations: Readonly<Record<string, Operation>> = {
  auth: async (parts, fields, signal) => {
    return { ...(await authenticate(parts, { user: need(fields, 'user'), password: fields.get('password') ?? '', ...whereFrom(fields) }, signal)) };
  },
  account: async (parts, fields) => ({ ...(await checkAccount(parts, need(fields, 'user'), fields.get('handle') ?? '')) }),
  open: async (parts, fields, signal) => {
    const [pid, credential_key] = [integer(fields.get('pid')), integer(fields.get('credential_key'))];
    const [handle, ssh] = [fields.get('handle') ?? '', fields.get('ssh') ?? ''];
    const held = await openLogin(parts, { handle, ssh, user: need(fields, 'user'), tty: fields.get('tty') ?? '', pid, credential_key }, signal);
    const { session, uid, gid, groups, home, expires_ms, own, origin } = held;
    const opened = { session, secret: own.secret, uid, gid, groups: groups.join(','), home, expires_ms, 'env.XOS_NODE_HOME': origin };
    if (!isGranted(held)) return { ...opened, notice: 'offline' };
    return { ...opened, credential: own.credential, 'env.SSH_AUTH_SOCK': own.ssh === '' ? undefined : parts.sshAgents.path(session) };
  },
  close: async (parts, fields, signal) => {
    await endSession(parts, need(fields, 'session'), 'logout', killsOnLogout(parts.policy, parts.members.loginPolicy()), signal);
    return {};
  },
  password: async (parts, fields, signal) => {
    await changePasswordHere(parts, { user: need(fields, 'user'), old: fields.get('old') ?? '', password: need(fields, 'new'), handle: fields.get('handle') ?? '', ...whereFrom(fields) }, signal);
    return {};
  },
  refresh: async (parts, fields, signal) => {
    const held = parts.table.held(need(fields, 'session'));
    if (held === null || !isGranted(held)) throw new XosError('XOS_NO_LOGIN', 'there is no session of a login here whose credential could be renewed');
    await renewLogin(parts, held, signal);
    return {};
  },
};

/** The answer's status by the error's code; what is not here is `unavailable`: the grid's fault, not the user's. */
const statuses: Readonly<Record<string, 'denied' | 'expired'>> = {
  XOS_WRONG_PASSWORD: 'denied', XOS_NO_MEMBER: 'denied', XOS_LOCKED: 'denied', XOS_REVOKED: 'denied', XOS_VO_UNKNOWN: 'denied', XOS_BAD_NAME: 'denied',
  XOS_BAD_PASSWORD: 'denied', XOS_SITE_POLICY: 'denied', XOS_NO_LOGIN: 'denied', XOS_MALFORMED: 'denied', XOS_UID_RANGE: 'denied', XOS_UID_TAKEN: 'denied', XOS_SSH: 'denied',
  XOS_NOT_REACHED: 'denied', XOS_CREDENTIAL_EXPIRED: 'expired',
};

/** Numbers that PAM acts on: how long to take over a refusal, when to try again, the rule that a new password breaks. */
const told = ({ data: { delay_ms, retry_after_ms, rule, least, count } }: XosError): Answer =>
  Object.fromEntries(Object.entries({ delay_ms, retry_after_ms, rule, least, count }).flatMap(([key, value]) => (typeof value === 'number' || typeof value === 'string' ? [[key, value]] : [])));

export interface AgentOptions {
  readonly context: Pick<NodeContext, 'ports' | 'paths'>;
  /** null while the node belongs to no VO. */
  readonly parts: () => SessionParts | null;
}

/** agent.sock, for the PAM module: mode 0600, and root by SO_PEERCRED besides. One request and one answer on a connection. */
export function agentService(options: AgentOptions): Service {
  const { network, clock, log: rootLog } = options.context.ports;
  const log = rootLog.child('agent');
  const stopping = new AbortController();
  let listener: Listener | null = null;
  let open = 0;

  const answer = async (message: string): Promise<string> => {
    let op = '';
    try {
      const fields = decodeFields(message, 'op');
      op = fields.get('op')!;
      const operation = Object.hasOwn(operations, op) ? operations[op] : undefined;
      if (operation === undefined) throw new XosError('XOS_MALFORMED', `the agent has no operation '${op.slice(0, 40)}'`);
      const parts = options.parts();
      if (parts === null) throw new XosError('XOS_UNAVAILABLE', 'this node belongs to no VO yet');
      return encodeFields(['status', 'ok'], await operation(parts, fields, clock.deadline(limits.agent_request_ms, stopping.signal)));
    } catch (thrown) {
      const error = asXosError(thrown);
      const status = statuses[error.code] ?? 'unavailable';
      // The reason is for the node's log; what the user reads is PAM's polite line.
      log.warn(`${op === '' ? 'a request' : op} refused`, { status, code: error.code, reason: describe(thrown) });
      return encodeFields(['status', status], { reason: error.code, message: error.message, ...told(error) });
    }
  };

  const serve = (stream: Duplex): void => {
    open++;
    stream.once('close', () => open--);
    const framer = new AgentFramer();
    let served = false;
    const finish = (text: string): void => void stream.end(text, () => stream.destroy());
    stream.on('data', (chunk: Buffer) => {
      if (served) return;
      try {
        const [message] = framer.push(chunk);
        chunk.fill(0); // it may hold a password
        if (message === undefined) return;
        served = true;
        void answer(message).then(finish);
      } catch (thrown) {
        served = true;
        log.warn('a request was malformed', { reason: describe(thrown) });
        finish(encodeFields(['status', 'denied'], { reason: asXosError(thrown).code }));
      }
    });
    stream.on('end', () => void (served || stream.destroy()));
    void clock.sleep(limits.agent_request_ms + 5_000, stopping.signal).then(() => stream.destroy(), () => stream.destroy());
  };

  return {
    name: 'agent',
    async start() {
      listener = await network.listenUnix(`${options.context.paths.run}/agent.sock`, 0o600, (stream, peer) => {
        if (peer.uid === 0 && open < limits.agent_connections_max) return serve(stream);
        log.warn('a connection was refused', { uid: peer.uid, pid: peer.pid, open });
        stream.destroy();
      });
    },
    async stop() {
      stopping.abort();
      await listener?.close();
      listener = null;
    },
    status: () => ({ up: listener !== null, detail: '' }),
  };
}
