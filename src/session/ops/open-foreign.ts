import { XosError } from '../../core/errors.ts';
import { parseSessionId } from '../../core/ids.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { CloseRequest, CloseResponse, OpenRequest, OpenResponse, SyncRequest, SyncResponse } from '../../proto/xos/session/v1/session.ts';
import { verifyCredential } from '../../vo/credential.ts';
import { sessionProofBytes } from '../../vo/proof.ts';
import { endSession } from '../end.ts';
import type { SessionParts } from '../parts.ts';
import { tellRelay } from '../relay.ts';

/**
 * Sessions.Open: a session of another node's login. Believed is what the CDA signed, and that the credential's key said for this
 * node, now, that it wants to be here; the origin is who the caller's certificate names. Opening again renews.
 * Errors: XOS_CREDENTIAL, XOS_CREDENTIAL_EXPIRED, XOS_CLOCK_OFF, XOS_PROOF, XOS_REPLAY, XOS_REVOKED, XOS_SITE_POLICY, XOS_DENIED
 * (the session is another origin's), XOS_ROLE (a light node), XOS_UNAVAILABLE, XOS_HOME.
 */
export async function openForeign(parts: SessionParts, request: OpenRequest, call: RpcCall): Promise<OpenResponse> {
  const { context, table, trust } = parts;
  const { clock, log } = context.ports;
  const origin = call.peer!.node;
  const session = parseSessionId(request.session);
  const now_ms = clock.now_ms();
  try {
    // A light node has a relay for the jobs that its own users have elsewhere; without a session here nobody's job gets past it.
    if (!context.roles.includes('relay')) throw new XosError('XOS_ROLE', `node '${context.node}' takes no jobs of other nodes: it has not the role 'relay'`, { node: context.node });
    const credential = verifyCredential(request.credential, trust, now_ms);
    const { claims } = credential;
    if (claims.session !== session) throw new XosError('XOS_PROOF', `the credential is of session '${claims.session}', not '${session}'`);
    const { expires_ms: wanted_ms, issued_ms, nonce } = request;
    const bytes = sessionProofBytes({ vo: context.vo, session, origin, target: context.node, expires_ms: wanted_ms, issued_ms, nonce });
    await parts.gate.check(credential.publicKey, bytes, request.signature, { issued_ms, nonce }, now_ms);
    const refused = parts.members.refuseUser(claims.user, claims.uid);
    if (refused !== null) throw refused;
    if (parts.policy.deny.includes(claims.user)) throw new XosError('XOS_SITE_POLICY', `the policy of node '${context.node}' lets '${claims.user}' not in`, { user: claims.user });
    const known = table.held(session);
    if (known !== null && known.origin !== origin) throw new XosError('XOS_DENIED', `session '${session}' is of node '${known.origin}'`, { session });
    const owner = { user: claims.user, uid: claims.uid, gid: claims.uid };
    await parts.homes.mount(owner, { fill: false }, call.signal);
    const held = {
      ...owner, session, vo: context.vo, groups: claims.groups, roles: claims.roles, origin, home: parts.homes.path(claims.user),
      expires_ms: Math.min(wanted_ms, credential.expires_ms), started_ms: known?.started_ms ?? now_ms, own: null,
    };
    await tellRelay(parts, held, call.signal);
    await table.put(held);
    return { expires_ms: held.expires_ms };
  } catch (thrown) {
    log.child('session').warn('a session from another node was not opened', { session, origin, reason: (thrown as Error).message });
    throw thrown;
  }
}

/** Sessions.Close: only by its origin. Closing what is not there is no error. */
export async function closeForeign(parts: SessionParts, request: CloseRequest, call: RpcCall): Promise<CloseResponse> {
  const held = parts.table.held(parseSessionId(request.session));
  if (held === null) return {};
  if (held.origin !== call.peer!.node) throw new XosError('XOS_DENIED', `session '${held.session}' is of node '${held.origin}'`, { session: held.session });
  await endSession(parts, held.session, request.reason.slice(0, 200), request.kill, call.signal);
  return {};
}

/** Sessions.Sync: the origin says what it has; what it does not name any more ends here, what is lacking here is asked for. */
export async function syncForeign(parts: SessionParts, request: SyncRequest, call: RpcCall): Promise<SyncResponse> {
  const origin = call.peer!.node;
  const named = new Map(request.sessions.map(({ session, expires_ms }) => [session, expires_ms]));
  for (const held of parts.table.all()) {
    if (held.origin === origin && held.own === null && !named.has(held.session)) await endSession(parts, held.session, `ended on node '${origin}'`, false, call.signal);
  }
  const missing = [...named].filter(([session, expires_ms]) => {
    const held = parts.table.held(session);
    return held === null || (held.origin === origin && held.expires_ms < expires_ms);
  });
  return { missing: missing.map(([session]) => session) };
}
