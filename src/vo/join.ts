import { XosError } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';
import type { RpcClient } from '../core/rpc.ts';
import type { AdmissionDefinition } from '../proto/xos/admission/v1/admission.ts';
import { requestFor, type IdentityStore, type StoredIdentity } from './identity.ts';
import type { NodePlace } from './registry.ts';
import type { JoinToken } from './token.ts';
import { fingerprint, verifyTrust } from './trust.ts';

export interface JoinPorts {
  readonly clock: Clock;
  /** Certificates that the server at an address shows, PEM, leaf first; nothing is believed yet. */
  readonly shownChain: (address: string, port: number, signal: AbortSignal) => Promise<readonly string[]>;
  /** A client that believes `root` alone, and the registry's node alone. */
  readonly connect: (token: JoinToken, root: string) => { readonly client: RpcClient<typeof AdmissionDefinition>; close(): void };
}

/**
 * Joins the VO of the token: the root that the registry shows is believed if its fingerprint is the token's, then the registry must
 * prove itself by it, and only then is the secret sent. May be repeated with the same token and key when an answer was lost.
 * Errors: XOS_WRONG_NODE, XOS_TOKEN_EXPIRED, XOS_TRUST (not the VO of the token), XOS_UNREACHABLE, and what the registry says.
 */
export async function joinVo(token: JoinToken, place: NodePlace, store: IdentityStore, ports: JoinPorts, signal: AbortSignal): Promise<StoredIdentity> {
  if (token.node !== place.node) throw new XosError('XOS_WRONG_NODE', `the join token is for node '${token.node}', this is '${place.node}'; invite this one`);
  if (ports.clock.now_ms() > token.expires_ms) throw new XosError('XOS_TOKEN_EXPIRED', `the join token expired ${new Date(token.expires_ms).toISOString()}; make a new one with 'xvo node invite'`);
  const chain = await ports.shownChain(token.address, token.port, signal);
  const root = chain.find((certificate) => fingerprint(certificate) === token.root);
  if (root === undefined) {
    throw new XosError('XOS_TRUST', `what listens at '${token.address}:${token.port}' is not the registry of VO '${token.vo}': it shows no root with the token's fingerprint; check the address, or somebody stands between`);
  }
  const key = await store.joiningKey();
  const { client, close } = ports.connect(token, root);
  try {
    const answer = await client.join({ ...place, roles: [...place.roles], secret: Buffer.from(token.secret, 'hex'), csr: requestFor(key, place.node) }, { signal });
    const trust = verifyTrust(JSON.parse(Buffer.from(answer.trust).toString('utf8')), token.root);
    if (trust.vo !== token.vo) throw new XosError('XOS_TRUST', `the registry answered for VO '${trust.vo}', the token is for '${token.vo}'`);
    return await store.store(key, answer.certificate, trust);
  } finally {
    close();
  }
}
