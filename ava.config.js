// Node strips the types itself, so ava loads the sources as they are.
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  concurrency: 2,
  timeout: '60s',
};
