import { XosError, hasCode } from '../../core/errors.ts';
import { CredentialsDefinition } from '../../proto/xos/credential/v1/credential.ts';
import { admitTry, countFailure } from '../guard.ts';
import type { SessionParts } from '../parts.ts';
import { askCda, localUser } from './authenticate.ts';

export interface PasswordChange {
  readonly user: string;
  readonly old: string;
  readonly password: string;
  /** Of a login that asked for the change; empty: `passwd`. */
  readonly handle: string;
  readonly service: string;
  readonly tty: string;
  readonly rhost: string;
}

/** `op=password`: the CDA changes it. A login that waited for the change gets its credential by the new one. */
export async function changePasswordHere(parts: SessionParts, request: PasswordChange, signal: AbortSignal): Promise<void> {
  const { context, members, pending } = parts;
  const { user } = localUser(parts, request.user);
  admitTry(parts, request);
  const cda = context.rpc.client(members.registryNode(), CredentialsDefinition);
  try {
    await cda.changePassword({ user, old: request.old, password: request.password, rhost: request.rhost }, { signal });
  } catch (thrown) {
    if (!hasCode(thrown, 'XOS_WRONG_PASSWORD', 'XOS_NO_MEMBER')) throw thrown;
    const { code, message, data } = thrown as XosError;
    throw new XosError(code, message, { ...data, delay_ms: countFailure(parts, request) }, { cause: thrown });
  }
  const login = pending.peek(request.handle, context.ports.clock.now_ms());
  if (login?.by.kind !== 'change' || login.user !== user) return;
  const grant = await askCda(parts, user, request, signal);
  if (grant === null) throw new XosError('XOS_UNAVAILABLE', `the password of '${user}' was changed, and the CDA asks for another change`, { user });
  pending.put({ handle: request.handle, user, by: { kind: 'grant', grant } }, context.ports.clock.now_ms());
}
