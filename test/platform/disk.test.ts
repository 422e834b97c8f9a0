// The real disk: copying a skeleton into a home whose owner may be at work in it. Needs root (files change owner).
import test from 'ava';
import { chmod, lstat, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemDisk } from '../../src/platform/disk.ts';

const owner = { uid: 1_879_113_729, gid: 1_879_113_729 };
const asRoot = process.getuid?.() === 0 ? test : test.skip;
if (process.getuid?.() !== 0) console.log('skip the copies into homes: needs root');

async function places(t: import('ava').ExecutionContext): Promise<{ base: string; skeleton: string; home: string }> {
  const base = await mkdtemp('/tmp/xos-disk-');
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const [skeleton, home] = [join(base, 'skel'), join(base, 'home')];
  await mkdir(join(skeleton, '.config/deep'), { recursive: true });
  await mkdir(home);
  for (const name of ['.bashrc', '.profile', '.config/deep/settings']) await writeFile(join(skeleton, name), name);
  await chmod(join(skeleton, '.profile'), 0o640);
  await symlink('.profile', join(skeleton, '.login'));
  return { base, skeleton, home };
}

asRoot('a copy has the modes of the original and the owner that was named', async (t) => {
  const { skeleton, home } = await places(t);
  await systemDisk.copyTree(skeleton, home, owner);
  t.is(await readFile(join(home, '.config/deep/settings'), 'utf8'), '.config/deep/settings');
  for (const name of ['.profile', '.login', '.config', '.config/deep', '.config/deep/settings']) t.is((await lstat(join(home, name))).uid, owner.uid, name);
  t.is((await stat(join(home, '.profile'))).mode & 0o777, 0o640);
  t.true((await lstat(join(home, '.login'))).isSymbolicLink());
});

asRoot('what is there is left as it is', async (t) => {
  const { base, skeleton, home } = await places(t);
  await writeFile(join(base, 'elsewhere'), 'mine', { mode: 0o600 });
  await symlink(join(base, 'elsewhere'), join(home, '.bashrc'));
  await symlink(base, join(home, '.config'));
  await systemDisk.copyTree(skeleton, home, owner);
  t.is(await readFile(join(base, 'elsewhere'), 'utf8'), 'mine');
  t.is((await stat(join(base, 'elsewhere'))).uid, 0);
  t.false((await readdir(base)).includes('deep'), 'a link in the place of a folder is not followed');
});

asRoot('two first logins at once, on two nodes, both get the home', async (t) => {
  for (let round = 0; round < 30; round++) {
    const { skeleton, home } = await places(t);
    await t.notThrowsAsync(Promise.all([1, 2, 3].map(() => systemDisk.copyTree(skeleton, home, owner))));
    t.deepEqual((await readdir(home)).sort(), ['.bashrc', '.config', '.login', '.profile']);
  }
});

asRoot('an owner who swaps folders and files for links while root copies leads root nowhere', async (t) => {
  const { base, skeleton, home } = await places(t);
  const victim = join(base, 'victim');
  await mkdir(victim);
  await writeFile(join(victim, '.profile'), 'root only', { mode: 0o600 });
  const names = Array.from({ length: 40 }, (_, index) => `d${index}`);
  for (const name of names) {
    await mkdir(join(skeleton, name));
    await writeFile(join(skeleton, name, 'planted'), 'x', { mode: 0o666 });
  }
  let going = true;
  const swapping = (async () => {
    for (let at = 0; going; at++) {
      const name = names[at % names.length]!;
      await rename(join(home, name), join(home, `${name}.away`)).then(() => symlink(victim, join(home, name)), () => {});
      await rename(join(home, '.profile'), join(home, '.profile.away')).then(() => symlink(join(victim, '.profile'), join(home, '.profile')), () => {});
    }
  })();
  await systemDisk.copyTree(skeleton, home, owner).catch(() => {});
  going = false;
  await swapping;
  t.deepEqual(await readdir(victim), ['.profile']);
  const kept = await stat(join(victim, '.profile'));
  t.deepEqual([kept.uid, kept.mode & 0o777], [0, 0o600]);
});
