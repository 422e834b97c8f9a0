"""What the tests of this folder have in common: a list of titled functions, run one after the other."""
import os, sys, time, traceback

tests = []


class Skip(Exception):
    pass


def test(title):
    def add(function):
        tests.append((title, function))
        return function
    return add


def equal(got, wanted, what='value'):
    if got != wanted:
        raise AssertionError(f'{what}: got {got!r}, wanted {wanted!r}')


def wait_until(check, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        if check():
            return True
        time.sleep(0.05)
    return False


def processes(pattern):
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if pattern in open(f'/proc/{pid}/cmdline', 'rb').read().replace(b'\0', b' ').decode('utf8', 'replace'):
                found.append(int(pid))
        except OSError:
            pass
    return [pid for pid in found if pid != os.getpid()]


def run(nodes):
    """Runs all tests, or those whose title has argv[2] in it; ends this process with the status."""
    failed = passed = 0
    for title, function in tests:
        if len(sys.argv) > 2 and sys.argv[2] not in title:
            continue
        try:
            function()
            passed += 1
            print('ok  ', title, flush=True)
        except Skip as why:
            print('skip', f'{title}: {why}', flush=True)
        except Exception:
            failed += 1
            print('FAIL', title, flush=True)
            print('     ' + traceback.format_exc(limit=4).replace('\n', '\n     '), flush=True)
    if failed:
        for node in nodes:
            print(f'--- log of {node.name}:\n' + open(f'/home/{node.name}.log').read()[-3000:])
    print(f'{passed} passed, {failed} failed')
    sys.stdout.flush()
    os._exit(1 if failed or not passed else 0)
