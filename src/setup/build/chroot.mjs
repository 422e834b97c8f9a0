// Building inside the image root, so that what is tested is what is shipped; the root itself stays as it is.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { build, clone } from '../lib/paths.mjs'
import { run } from '../lib/run.mjs'

// Everything here lives in a mount and pid namespace that go with the process. The root is covered by an overlay on a tmpfs; the
// clone is at the same path inside, so that compilers' messages and debug information name the files as they are.
const ENTER = `
set -e
root=$1 mountpoint=$2 clone=$3 binds=$4; shift 4
mount -t tmpfs -o mode=0755 tmpfs "$mountpoint"
mkdir "$mountpoint/upper" "$mountpoint/work" "$mountpoint/root"
inside=$mountpoint/root
mount -t overlay overlay -o "lowerdir=$root,upperdir=$mountpoint/upper,workdir=$mountpoint/work" "$inside"
mount -t proc proc "$inside/proc"
mount --rbind /sys "$inside/sys"
mount --rbind /dev "$inside/dev"
mount -t tmpfs -o mode=1777 tmpfs "$inside/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$inside/run"
# Last: the clone may be below /tmp or /run.
mkdir -p "$inside$clone"
mount --bind "$clone" "$inside$clone"
for each in $binds; do
  mkdir -p "$inside$each"
  mount --bind "$each" "$inside$each"
done
exec chroot "$inside" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
  sh -c 'cd "$1"; shift; exec "$@"' - "$clone" "$@"
`

/**
 * The command line that runs `command` inside the image root, with the clone at its own path as the working directory.
 * @param {string} root @param {readonly string[]} command @param {readonly string[]} [binds] further folders of the machine to be seen inside; no blanks
 */
export function enterCommand(root, command, binds = []) {
  const mountpoint = join(build, 'chroot')
  mkdirSync(mountpoint, { recursive: true })
  return ['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', 'sh', '-c', ENTER, '-', root, mountpoint, clone, binds.join(' '), ...command]
}

/** Runs it. Options as for run(), and `binds`. @param {string} root @param {readonly string[]} command @param {Parameters<typeof run>[2] & {binds?: readonly string[]}} options */
export async function runInRoot(root, command, options) {
  const [program = '', ...args] = enterCommand(root, command, options.binds)
  return await run(program, args, { what: `'${command.join(' ')}' in the image root`, ...options })
}
