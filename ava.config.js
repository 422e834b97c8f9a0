// Node strips the types itself, so ava loads the sources as they are.
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  concurrency: 2,
  timeout: '60s',
  // Child processes: what a daemon does (umask, signals, addons) is not for worker threads.
  workerThreads: false,
};
