import { XosError, describe } from '../core/errors.ts';
import { minute_ms } from '../core/units.ts';
import type { NodeContext } from '../daemon/context.ts';
import type { SitePolicy } from './policy.ts';

const linger_ms = 10 * minute_ms;

export interface HomeOwner {
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * /home/USER on this node: a bind mount of the user's volume. One at a time per user; a mount whose server died and came back is made
 * again. Taken away when neither a session nor a process of the user is left: a lazy unmount under a running process would take
 * its paths from it.
 */
export class Homes {
  readonly #context: NodeContext;
  readonly #policy: SitePolicy;
  readonly #turns = new Map<string, Promise<unknown>>();
  /** When each home was last asked for: a login that is under way is in no table yet. */
  readonly #wanted_ms = new Map<string, number>();

  constructor(context: NodeContext, policy: SitePolicy) {
    this.#context = context;
    this.#policy = policy;
  }

  path(user: string): string {
    return `${this.#context.paths.home}/${user}`;
  }

  /** /home propagates into the namespaces of sessions and cells, so that a home mounted later is seen in all of them. */
  async prepare(): Promise<void> {
    const { ports, paths } = this.#context;
    if (this.#policy.homes === 'volume') await ports.mounts.share(paths.home);
    else await ports.disk.makeDirectory(paths.home);
  }

  /** Resolves when /home/USER is there. `fill`: an empty home gets the skeleton. Throws XOS_HOME. */
  async mount(owner: HomeOwner, options: { readonly fill: boolean }, signal: AbortSignal): Promise<void> {
    await this.#inTurn(owner.user, async () => {
      this.#wanted_ms.set(owner.user, this.#context.ports.clock.now_ms());
      try {
        if (this.#policy.homes === 'local') await this.#makeLocal(owner);
        else await this.#bindVolume(owner, signal);
        if (options.fill) await this.#fill(owner, signal);
      } catch (cause) {
        throw new XosError('XOS_HOME', `cannot provide the home of '${owner.user}' at '${this.path(owner.user)}': ${describe(cause)}`, { user: owner.user }, { cause });
      }
    });
  }

  /** Takes the home away unless somebody asked for it in the last minutes: people come back, and scripts log in again and again. */
  async unmountIdle(user: string): Promise<void> {
    if (this.#policy.homes === 'local') return;
    await this.#inTurn(user, async () => {
      if (this.#context.ports.clock.now_ms() - (this.#wanted_ms.get(user) ?? 0) < linger_ms) return;
      this.#wanted_ms.delete(user);
      await this.#context.ports.mounts.unmount(this.path(user));
      await this.#context.ports.disk.remove(this.path(user)).catch(() => {});
    });
  }

  /** Users whose homes are mounted now. */
  async mounted(): Promise<readonly string[]> {
    if (this.#policy.homes === 'local') return [];
    const base = this.#context.paths.home;
    return [...new Set((await this.#context.ports.mounts.list(base)).filter((point) => point !== base).map((point) => point.slice(base.length + 1)))].filter((user) => !user.includes('/'));
  }

  async #bindVolume(owner: HomeOwner, signal: AbortSignal): Promise<void> {
    const { provided, paths, ports, vo } = this.#context;
    const volume = `home.${owner.user}`;
    if (await ports.mounts.alive(this.path(owner.user), signal)) return;
    if (provided.volumes === null) throw new XosError('XOS_UNAVAILABLE', 'the volumes are not served yet');
    await provided.volumes.ensure({ name: volume, uid: owner.uid, gid: owner.gid, mode: 0o700 }, signal);
    await ports.mounts.bind(`${paths.grid}/${vo}/${volume}`, this.path(owner.user), signal);
  }

  async #makeLocal(owner: HomeOwner): Promise<void> {
    const { disk } = this.#context.ports;
    if ((await disk.facts(this.path(owner.user))) !== null) return;
    await disk.makeDirectory(this.path(owner.user), 0o700);
    await disk.own(this.path(owner.user), owner);
  }

  async #fill(owner: HomeOwner, signal: AbortSignal): Promise<void> {
    const { disk, log } = this.#context.ports;
    if ((await disk.list(this.path(owner.user))).length > 0 || (await disk.facts(this.#context.paths.skeleton)) === null) return;
    await disk.copyTree(this.#context.paths.skeleton, this.path(owner.user), owner, signal);
    log.info('first login: home filled', { user: owner.user });
  }

  async #inTurn<T>(user: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(user) ?? Promise.resolve();
    const turn = before.catch(() => {}).then(work);
    this.#turns.set(user, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(user) === turn) this.#turns.delete(user);
    }
  }
}
