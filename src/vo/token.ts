import { createHash } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { parseNodeId, parseVoName } from '../core/ids.ts';

/** What lets one node join one VO once. Whoever has it can be that node: hand it over as you would a password. */
export interface JoinToken {
  readonly vo: string;
  readonly node: string;
  /** Node id, address and port of the registry. */
  readonly registry: string;
  readonly address: string;
  readonly port: number;
  /** Fingerprint of the VO's root: by it the registry proves itself to the joining node. */
  readonly root: string;
  /** 32 bytes, hexadecimal. */
  readonly secret: string;
  readonly expires_ms: number;
}

const start = 'xos1.';

export const encodeToken = (token: JoinToken): string => start + Buffer.from(JSON.stringify(token)).toString('base64url');

/** What the registry keeps of a secret. It has 256 bits, so a plain hash is enough. */
export const secretHash = (secret: Uint8Array): string => createHash('sha256').update('xos-join-v1\0').update(secret).digest('hex');

/** Throws XOS_BAD_TOKEN. */
export function decodeToken(text: string): JoinToken {
  try {
    if (!text.startsWith(start)) throw new Error(`it does not begin with '${start}'`);
    const token = JSON.parse(Buffer.from(text.slice(start.length).trim(), 'base64url').toString('utf8')) as JoinToken;
    parseVoName(token.vo);
    parseNodeId(token.node);
    parseNodeId(token.registry);
    if (!/^[0-9a-f]{64}$/.test(token.root) || !/^[0-9a-f]{64}$/.test(token.secret)) throw new Error('its root or secret is no 32 bytes');
    if (typeof token.address !== 'string' || !/^[A-Za-z0-9.:_-]{1,255}$/.test(token.address) || !Number.isInteger(token.port) || token.port < 1 || token.port > 65_535) throw new Error('its address is malformed');
    if (!Number.isSafeInteger(token.expires_ms)) throw new Error('its expiry is malformed');
    return token;
  } catch (cause) {
    throw new XosError('XOS_BAD_TOKEN', `the join token is not valid: ${(cause as Error).message}; make a new one with 'xvo node invite' and copy it whole`, {}, { cause });
  }
}
