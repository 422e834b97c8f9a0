import { XosError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { ssh_certificate_type, sshString, SshReader } from '../../vo/ssh.ts';

/** What of the ssh agent's protocol (draft-ietf-sshm-ssh-agent; PROTOCOL of OpenSSH for hostbound) a session's agent speaks. */
export const message = { failure: 5, requestIdentities: 11, identities: 12, signRequest: 13, signature: 14 } as const;
const userauth_request = 50;

/** Cuts a stream into messages. Throws XOS_MALFORMED when one is too long. */
export class SshFramer {
  #bytes = Buffer.alloc(0);

  push(chunk: Buffer): readonly Buffer[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const messages: Buffer[] = [];
    while (this.#bytes.length >= 4) {
      const size = this.#bytes.readUInt32BE(0);
      if (size === 0 || size > limits.ssh_agent_message_bytes_max) throw new XosError('XOS_MALFORMED', `a message of ${size} bytes to an ssh agent is not read`);
      if (this.#bytes.length < 4 + size) break;
      messages.push(this.#bytes.subarray(4, 4 + size));
      this.#bytes = this.#bytes.subarray(4 + size);
    }
    return messages;
  }
}

export const frame = (type: number, ...parts: readonly Buffer[]): Buffer => sshString(Buffer.concat([Buffer.from([type]), ...parts]));

export interface LoginStatement {
  readonly user: string;
  /** Blob of the key that the login is by. */
  readonly key: Buffer;
  /** Blob of the host key (or certificate) of the server; null from a client that does not say. */
  readonly host: Buffer | null;
}

/**
 * What a client wants signed, if it is the statement of a login by a certificate (RFC 4252, 7; PROTOCOL, 3.1); null for anything else.
 * Nothing else is ever signed: the key also makes the session's proofs to other nodes.
 */
export function readLoginStatement(data: Buffer): LoginStatement | null {
  try {
    const read = new SshReader(data);
    if (read.string().length === 0 || read.byte() !== userauth_request) return null;
    const user = read.text();
    if (read.text() !== 'ssh-connection') return null;
    const method = read.text();
    if (read.byte() !== 1 || read.text() !== ssh_certificate_type) return null;
    const key = read.string();
    const host = method === 'publickey-hostbound-v00@openssh.com' ? read.string() : null;
    return (host !== null || method === 'publickey') && read.done ? { user, key, host } : null;
  } catch {
    return null;
  }
}
