import type { Duplex } from 'node:stream';
import { describe } from '../../core/errors.ts';
import { parseUri } from '../../core/ids.ts';
import type { Listener } from '../../core/ports.ts';
import { minute_ms } from '../../core/units.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { keyFromPem } from '../../vo/keys.ts';
import { sshAuthorityBlob, sshSignature, sshString, SshReader, verifySshCertificate } from '../../vo/ssh.ts';
import type { Trust } from '../../vo/trust.ts';
import type { HeldSession, OwnSession, SessionTable } from '../table.ts';
import { frame, message, readLoginStatement, SshFramer } from './protocol.ts';

const visit_ms = minute_ms;
const visits_max = 1_024;
const connections_max = 32;

/**
 * An ssh agent for each login of this node: a socket that only the session's user may use, with one key, that of the session's credential,
 * which never leaves xosd. It signs logins and nothing else, and remembers to which node: that node may then ask, once, for a
 * credential of the session that it opens (Sessions.Delegate).
 */
export class SshAgents {
  readonly #context: NodeContext;
  readonly #trust: Trust;
  readonly #table: SessionTable;
  readonly #listeners = new Map<string, Listener>();
  /** `session node` → until when; oldest first. */
  readonly #visits = new Map<string, number>();
  #open = 0;

  constructor(context: NodeContext, trust: Trust, table: SessionTable) {
    this.#context = context;
    this.#trust = trust;
    this.#table = table;
  }

  path(session: string): string {
    return `${this.#context.paths.run}/ssh-agent/${session}`;
  }

  /** The folder is root's and can only be passed through, so that nobody puts anything in the way of a socket. */
  async prepare(): Promise<void> {
    await this.#context.ports.disk.makeDirectory(`${this.#context.paths.run}/ssh-agent`, 0o711);
  }

  /** Without it the session has no ssh key; that is logged and no reason to refuse a login. */
  async open(held: HeldSession): Promise<void> {
    if (held.own === null || held.own.ssh === undefined || held.own.ssh === '' || this.#listeners.has(held.session)) return;
    const { network, log } = this.#context.ports;
    try {
      // Anybody may connect: the kernel says who it is. The socket of a session that is over is gone with it.
      this.#listeners.set(held.session, await network.listenUnix(this.path(held.session), 0o666, (stream, peer) => {
        if (peer.uid === held.uid && this.#open < connections_max) return this.#serve(stream, held.session);
        log.child('session').warn('a connection to an ssh agent was refused', { session: held.session, uid: peer.uid, pid: peer.pid });
        stream.destroy();
      }));
    } catch (thrown) {
      log.child('session').warn('a session has no ssh agent', { session: held.session, reason: describe(thrown) });
    }
  }

  async close(session: string): Promise<void> {
    const listener = this.#listeners.get(session);
    this.#listeners.delete(session);
    for (const visit of this.#visits.keys()) if (visit.startsWith(session)) this.#visits.delete(visit);
    await listener?.close();
    await this.#context.ports.disk.remove(this.path(session));
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#listeners.values()].map((listener) => listener.close()));
    this.#listeners.clear();
  }

  /** True when the session's user went to the node by ssh a moment ago; once for each time. */
  takeVisit(session: string, node: string, now_ms: number): boolean {
    const until_ms = this.#visits.get(`${session} ${node}`) ?? 0;
    this.#visits.delete(`${session} ${node}`);
    return until_ms > now_ms;
  }

  #serve(stream: Duplex, session: string): void {
    this.#open++;
    const framer = new SshFramer();
    stream.once('close', () => this.#open--);
    stream.on('end', () => stream.end());
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const request of framer.push(chunk)) stream.write(this.#answer(session, request));
      } catch {
        stream.destroy();
      }
    });
  }

  #answer(session: string, request: Buffer): Buffer {
    const failure = frame(message.failure);
    const held = this.#table.held(session);
    if (held?.own == null || held.own.credential === '') return failure;
    const own = held as OwnSession;
    const certificate = Buffer.from(own.own.ssh ?? '', 'base64');
    if (request[0] === message.requestIdentities) return frame(message.identities, Buffer.from([0, 0, 0, 1]), sshString(certificate), sshString(`${held.user}@${held.vo}`));
    if (request[0] !== message.signRequest) return failure;
    try {
      return this.#sign(own, certificate, new SshReader(request.subarray(1)));
    } catch {
      return failure;
    }
  }

  #sign(held: OwnSession, certificate: Buffer, read: SshReader): Buffer {
    const key = read.string();
    const data = read.string();
    const statement = readLoginStatement(data);
    const log = this.#context.ports.log.child('session');
    if (!key.equals(certificate) || statement === null || !statement.key.equals(certificate) || statement.user !== `${held.user}@${held.vo}`) {
      log.warn('an ssh agent did not sign what is no login of its user', { session: held.session, user: held.user });
      return frame(message.failure);
    }
    const node = statement.host === null ? null : this.#nodeOf(statement.host);
    if (node !== null) this.#remember(`${held.session} ${node}`);
    log.info('signed for a login by ssh', { session: held.session, user: held.user, node: node ?? 'unknown' });
    return frame(message.signature, sshString(sshSignature(keyFromPem(held.own.key), data)));
  }

  /** The node of the VO that a host key belongs to; null when it is none that can prove it. */
  #nodeOf(host: Buffer): string | null {
    try {
      const now_ms = this.#context.ports.clock.now_ms();
      const read = new SshReader(host);
      for (let skipped = 0; skipped < 3; skipped++) read.string(); // type, nonce, key
      read.u64();
      read.u32();
      const uri = parseUri(read.text());
      if (uri?.kind !== 'node' || uri.vo !== this.#context.vo) return null;
      verifySshCertificate(host, { kind: 'host', authority: sshAuthorityBlob(this.#trust.node_ca), principal: uri.name }, now_ms);
      return uri.name;
    } catch {
      return null;
    }
  }

  #remember(visit: string): void {
    const now_ms = this.#context.ports.clock.now_ms();
    for (const [known, until_ms] of this.#visits) if (until_ms <= now_ms || this.#visits.size >= visits_max) this.#visits.delete(known);
    this.#visits.set(visit, now_ms + visit_ms);
  }
}
