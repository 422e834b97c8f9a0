import type { Disk, Spawn } from '../../core/ports.ts';

/** Libraries that jobs ask for, by the name before `.so`; of the hundreds that a system has. */
const asked_for = /^lib(?:mpi|mpich|gomp|cuda|cudart|cudnn|nccl|OpenCL|amdhip64|vulkan|openblas|blas|lapack|scalapack|fftw3|hdf5|netcdf|gsl|boost_mpi|python3\.[0-9]+|jvm|tbb|mkl_rt|ucp|ibverbs)$/;

/** Device files, and what a node that has them is said to have. */
const device_files: readonly (readonly [directory: string, pattern: RegExp, what: string])[] = [
  ['/dev', /^kvm$/, 'kvm'], ['/dev', /^fuse$/, 'fuse'], ['/dev/net', /^tun$/, 'tun'], ['/dev/dri', /^renderD/, 'render'], ['/dev', /^nvidia[0-9]/, 'nvidia'], ['/dev', /^kfd$/, 'kfd'],
  ['/dev/infiniband', /^uverbs/, 'infiniband'], ['/dev', /^video[0-9]/, 'camera'], ['/dev/snd', /^pcm/, 'sound'], ['/dev', /^tty(?:USB|ACM)[0-9]/, 'serial'], ['/dev', /^tpm[0-9]/, 'tpm'],
  ['/dev', /^i2c-/, 'i2c'], ['/dev', /^spidev/, 'spi'], ['/dev', /^gpiochip/, 'gpio'], ['/dev', /^nvme[0-9]+n/, 'nvme'],
];

/** Where the kernel names its sensors: a directory of them, and the file in each that says what it is. */
const sensor_files = [['/sys/class/hwmon', 'name'], ['/sys/class/thermal', 'type'], ['/sys/bus/iio/devices', 'name']] as const;

/** Libraries, devices and sensors of this node, which systeminformation does not know; what cannot be read is not there. Rejects only when aborted. */
export async function collectHardware({ spawn, disk }: { readonly spawn: Spawn; readonly disk: Disk }, signal: AbortSignal): Promise<Readonly<Record<'libraries' | 'devices' | 'sensors', readonly string[]>>> {
  const list = (directory: string): Promise<readonly string[]> => disk.list(directory).catch(() => []);
  const devices = await Promise.all(device_files.map(async ([directory, pattern, what]) => ((await list(directory)).some((name) => pattern.test(name)) ? [what] : [])));
  const sensors = await Promise.all(sensor_files.map(async ([directory, file]) => await Promise.all((await list(directory)).map(async (name) => String((await disk.read(`${directory}/${name}/${file}`).catch(() => null)) ?? '').trim()))));
  const { stdout } = await spawn.run('/sbin/ldconfig', ['-p'], { signal, timeout_ms: 10_000 }).catch(() => ({ stdout: '' }));
  signal.throwIfAborted();
  return { devices: devices.flat(), sensors: sensors.flat().filter((name) => name !== ''), libraries: librariesIn(stdout) };
}

/** Those of `ldconfig -p` that jobs ask for. Pure. */
export const librariesIn = (printed: string): readonly string[] => [...new Set([...printed.matchAll(/^\s+(lib\S+?)\.so/gm)].map((match) => match[1]!).filter((name) => asked_for.test(name)))];
