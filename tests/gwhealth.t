#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwhealth: verdicts over pages of pretended stages, and over a real chain."""
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BIN, TESTS = os.environ['GW_BIN'], os.environ['GW_TESTS']
WAIT = 10		# seconds; only a failing test waits so long
tmp = tempfile.mkdtemp(prefix='gwhealth.')
os.chmod(tmp, 0o755)
RUN = tmp + '/run'
os.mkdir(RUN)
os.chmod(RUN, 0o777)
os.environ['GW_RUN'] = RUN
children = []
count = failed = 0


def ok(cond, what, got=None):
    global count, failed
    count += 1
    failed += not cond
    print('%sok %d - %s' % ('' if cond else 'not ', count, what))
    if not cond and got is not None:
        print('# got:', repr(got))
    sys.stdout.flush()


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def spawn(args, **kw):
    p = subprocess.Popen(args, **kw)
    children.append(p)
    return p


def end(p, sig=signal.SIGKILL):
    if p.poll() is None:
        p.send_signal(signal.SIGCONT)
        p.send_signal(sig)
    try:
        return p.wait(WAIT)
    except subprocess.TimeoutExpired:
        p.kill()
        return p.wait()


class Fake:
    """h_fakestage: a page that says what it is told"""
    def __init__(self, name, role, nonce, *up):
        self.p = spawn([TESTS + '/h_fakestage', RUN, name, str(role), str(nonce)] +
                       [str(u) for u in up], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.p.stdout.readline()

    def say(self, *lines):
        for line in lines:
            self.p.stdin.write((line + '\n').encode())
            self.p.stdin.flush()
            self.p.stdout.readline()

    def stop(self, sig=signal.SIGKILL):
        if sig == signal.SIGTERM:
            self.p.stdin.write(b'exit\n')
            self.p.stdin.flush()
            self.p.wait(WAIT)
        else:
            end(self.p, sig)


class Health:
    def __init__(self, *args, port=None, **kw):
        self.port = port or free_port()
        self.admin = free_port()
        r, w = os.pipe()
        self.p = spawn([BIN + '/gwhealth', '-l', '127.0.0.1:%d' % self.port, '--admin',
                        '127.0.0.1:%d' % self.admin, '--ready-fd', str(w)] + list(args),
                       pass_fds=[w], stderr=subprocess.PIPE, **kw)
        os.close(w)
        self.ready = os.read(r, 1)
        os.close(r)

    def get(self, path='/healthz', port=None, method='GET'):
        req = urllib.request.Request('http://127.0.0.1:%d%s' % (port or self.port, path),
                                     method=method)
        try:
            with urllib.request.urlopen(req, timeout=WAIT) as f:
                return f.status, f.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def until(self, status, pattern='', limit=WAIT):
        """Ask again and again until the answer is as wanted: it, and how long that took"""
        start = time.monotonic()
        while True:
            got = self.get()
            took = time.monotonic() - start
            if got[0] == status and re.search(pattern, got[1]) or took > limit:
                return got, took
            time.sleep(0.1)

    def stop(self):
        end(self.p, signal.SIGKILL)


def expect(h, status, pattern, what, limit=WAIT):
    got, took = h.until(status, pattern, limit)
    ok(got[0] == status and re.search(pattern, got[1]) and took <= limit, what, got)


def chain():
    return (Fake('gwcap', 1, 11), Fake('gwdecap', 0, 12, 11), Fake('gwinject', 2, 13, 12))


def simple_answers(h):
    ok(h.ready == b'\n', '--ready-fd')
    got = h.get()
    ok(got == (503, "no chain 'default' in %s\n" % RUN), 'no chain yet', got)


def by_itself(h):
    cap, decap, inject = chain()
    expect(h, 200, '^ok: gwcap gwdecap gwinject\n$', 'a chain, named in its order')
    ok(h.get('/')[0] == 200, '/ is /healthz')
    ok(h.get('/x')[0] == 404, 'other paths: 404')
    ok(h.get('/metrics')[0] == 404, 'no metrics where health is asked')
    ok(h.get(method='POST')[0] == 405, 'POST: 405')
    ok(h.get(method='HEAD') == (200, ''), 'HEAD')
    inject.say('trouble eth0 is down')
    expect(h, 503, '^gwinject is in trouble: eth0 is down$', 'trouble')
    inject.say('raw')
    expect(h, 503, r'gwinject is in trouble: \?{127}\n', 'a page without ends of strings')
    status = json.loads(h.get('/status.json', h.admin)[1])
    ok(not status['healthy'] and len(status['stages']) == 3, 'and JSON all the same')
    inject.say('trouble')
    expect(h, 200, '', 'over')
    return cap, decap, inject


def stopped_and_killed(h, stages):
    for i, name, role, nonce, *up in ((0, 'gwcap', 1, 11), (2, 'gwinject', 2, 13, 12)):
        os.kill(stages[i].p.pid, signal.SIGSTOP)
        expect(h, 503, r'^%s does not move \(heartbeat [23]\.\d s old\)$' % name,
               name + ' stopped', 3)
        os.kill(stages[i].p.pid, signal.SIGCONT)
        expect(h, 200, '', 'and goes on')
        stages[i].stop(signal.SIGKILL)
        expect(h, 503, '^%s died ' % name, name + ' killed', 3)
        stages[i] = Fake(name, role, nonce, *up)
        expect(h, 200, '', 'and is back')
    stages[1].stop(signal.SIGTERM)
    expect(h, 503, '^gwdecap ended and is not back', 'an orderly end is named too')
    stages[1] = Fake('gwdecap', 0, 12, 11)
    expect(h, 200, '', 'back')


def moving(h, stages):
    cap, decap, inject = stages
    cap.say('c in_packets 100', 'c out_packets 100')
    decap.say('c in_packets 100', 'c dropped_packets 10', 'c out_packets 90')
    inject.say('c in_packets 90', 'c out_packets 90')
    time.sleep(2.5)		# nothing must come of it in this time
    ok(h.get()[0] == 200, 'all accounts are even', h.get())
    decap.say('c out_packets 95', 'c in_packets 130')
    expect(h, 503, '^gwdecap has held 25 packets for more than a second', 'packets held')
    inject.say('c in_packets 95')
    expect(h, 503, '^gwinject has held 5 packets', 'the last that holds is named')
    inject.say('c out_packets 95')
    decap.say('c dropped_packets 35')
    expect(h, 200, '', 'let go')
    decap.say('c made_packets 50', 'c out_packets 145')
    expect(h, 503, r'^gwdecap has handed on 50 packets that did not arrive', 'lost between')
    inject.say('c gap_packets 50')
    expect(h, 200, '', 'known as a gap')
    inject.say('c in_packets 115', 'c dropped_packets 20', 'd no-buffers 20')
    expect(h, 503, r'gwinject sends nothing: 20 packets dropped, mostly as no-buffers', 'faults only')
    inject.say('c in_packets 125', 'c dropped_packets 25', 'd no-buffers 25', 'c out_packets 100')
    expect(h, 200, '', 'it sends again')
    inject.say('c in_packets 135', 'c dropped_packets 35', 'd rule 10')
    time.sleep(1.5)
    ok(h.get()[0] == 200, 'drops by rule are health', h.get())


def leftovers(h, stages):
    extra = Fake('gwfilter:old', 0, 99, 77)
    extra.stop(signal.SIGKILL)
    ok(h.get()[0] == 200, 'a crash of long ago is no matter', h.get())
    strict = Health('--expect', 'gwcap,gwfilter:old')
    expect(strict, 503, '^gwfilter:old died', 'but with --expect')
    os.unlink(RUN + '/gwfilter:old')
    extra = Fake('gwfilter:old', 0, 99, 77)
    expect(strict, 503, '^gwfilter:old is not on a way', 'it must be on the way, too')
    extra.say('up 12')
    stages[2].say('up 99')
    expect(strict, 200, '', 'now it is')
    ok(h.get()[0] == 200, 'two ways')
    os.kill(extra.p.pid, signal.SIGSTOP)
    expect(h, 503, '^gwfilter:old does not move', 'one of two ways is blocked')
    extra.stop(signal.SIGKILL)
    os.unlink(RUN + '/gwfilter:old')
    expect(h, 200, '', 'one way is enough')
    strict.stop()
    strict = Health('--expect', 'gwmangle')
    expect(strict, 503, '^gwmangle is not running$', 'expected, never seen')
    strict.stop()
    second = Fake('gwcap:1', 1, 21)
    expect(h, 503, 'nobody takes what gwcap:1 hands on', 'every source needs a way')
    second.stop(signal.SIGTERM)
    expect(h, 200, '', 'gone')


def idle_restart(h, stages):
    """Nothing was sent since a restart: the endpoint tells who feeds whom"""
    stages[0].say('out ipc://a')
    stages[1].stop(signal.SIGTERM)
    stages[1] = Fake('gwdecap', 0, 12)
    expect(h, 503, 'nobody takes what gwcap hands on', 'a stage that nobody feeds')
    stages[1].say('in bind+ipc://a')
    expect(h, 200, '', 'the same endpoint at both ends')
    stages[0].say('out tcp://127.0.0.1:7001')
    expect(h, 503, 'nobody takes what gwcap hands on', 'another endpoint')
    stages[1].say('in tcp://:7001')
    expect(h, 200, '', 'a port of this machine, by two names')
    stages[0].say('out tcp://10.0.0.9:7001')
    expect(h, 503, 'nobody takes what gwcap hands on', 'the same port of another machine')
    stages[0].say('out ipc://a')
    stages[1].say('in ipc://a')
    stages[1].say('up 11')


def metrics(h, stages):
    stages[1].say('rule a"b\\c 7', 'd geneve-short 3', 'latency 12 5', 'latency 13 2',
                  'latency 60 1')
    text = h.get('/metrics', h.admin)[1]
    line = re.compile(r'^(# (HELP|TYPE) gw_\w+ .+|gw_\w+(\{(\w+="([^"\\]|\\.)*",?)*\})? \S+)$')
    bad = [x for x in text.splitlines() if not line.match(x)]
    ok(text.endswith('\n') and not bad, 'every line is of the format', bad[:3])
    types = re.findall(r'^# TYPE (\S+)', text, re.M)
    ok(len(types) == len(set(types)), 'one TYPE a metric')
    for want in ('gw_healthy{chain="default"} 1', 'stage="gwdecap",name="",reason="geneve-short"} 3',
                 'gw_in_packets_total{chain="default",stage="gwinject",name=""} 135',
                 'rule="a\\"b\\\\c"} 7', 'gw_up{chain="default",stage="gwcap",name=""} 1'):
        ok(want in text, want)
    b = [(float(le), int(n)) for le, n in
         re.findall(r'gw_latency_seconds_bucket\{.*stage="gwdecap".*le="([^"]+)"\} (\d+)', text)]
    ok(b == sorted(b) and b[-1] == (float('inf'), 8), 'histogram grows to its count', b)
    ok(dict(b)[4.096e-06] == 5 and dict(b)[8.192e-06] == 7, 'in seconds', b)
    s = json.loads(h.get('/status.json', h.admin)[1])
    decap = [x for x in s['stages'] if x['stage'] == 'gwdecap'][0]
    ok(s['healthy'] and decap['readers'] == ['gwinject'] and decap['drops'] == {'geneve-short': 3}
       and decap['in_way'] is None and decap['rules'] == [{'name': 'a"b\\c', 'packets': 7, 'bytes': 700}], 'JSON', decap)


def half_open(h):
    socks = []
    for i in range(500):
        s = socket.create_connection(('127.0.0.1', h.port), timeout=WAIT)
        if i % 2:
            s.sendall(b'GET /hea')
        socks.append(s)
    start = time.monotonic()
    got = [h.get()[0] for i in range(10)]
    ok(got == [200] * 10 and time.monotonic() - start < 5, '500 half-open connections', got)
    for s in socks:
        s.close()


def https():
    key, cert, old = tmp + '/key.pem', tmp + '/cert.pem', tmp + '/other.pem'
    for k, c in ((key, cert), (old, tmp + '/c2')):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                        'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', k, '-out', c, '-days',
                        '2', '-subj', '/CN=gw'], check=True, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    h = Health('--tls-cert', cert, '--tls-key', key)
    for ver in ('1.2', '1.3'):
        r = subprocess.run(['curl', '-sk', '--tlsv' + ver, '--tls-max', ver, '-w', '%{http_code}',
                            'https://127.0.0.1:%d/' % h.port], stdout=subprocess.PIPE)
        ok(r.stdout.endswith(b'200'), 'HTTPS, TLS ' + ver, r.stdout)
    ok(h.get('/healthz', h.admin)[0] == 200, 'the admin socket stays plain')
    h.stop()
    for args, what in ((['--tls-cert', cert], 'no key'),
                       (['--tls-cert', cert, '--tls-key', old], 'another key'),
                       (['--tls-cert', tmp + '/nofile', '--tls-key', key], 'no file')):
        r = subprocess.run([BIN + '/gwhealth', '-l', '127.0.0.1:%d' % free_port()] + args,
                           stderr=subprocess.PIPE)
        ok(r.returncode == 2 and b'tls' in r.stderr, 'HTTPS, %s: exit 2' % what, r.stderr)


def listening(h):
    r = subprocess.run([BIN + '/gwhealth', '-l', '127.0.0.1:%d' % h.port], stderr=subprocess.PIPE)
    ok(r.returncode == 1 and b'Address already in use' in r.stderr, 'a port in use', r.stderr)
    path = tmp + '/admin.sock'
    socket.socket(socket.AF_UNIX).bind(path)		# left behind by a crash
    any_ = Health('--admin', path, '-l', ':%d' % free_port(), '-l', '[::1]:%d' % free_port())
    r = subprocess.run(['curl', '-s', '--unix-socket', path, 'http://x/status.json'],
                       stdout=subprocess.PIPE)
    ok(b'"healthy": true' in r.stdout, 'admin on a Unix socket', r.stdout[:80])
    v6 = any_.p.args[-1][6:]
    r = subprocess.run(['curl', '-s', 'http://[::1]:%s/' % v6], stdout=subprocess.PIPE)
    ok(r.stdout.startswith(b'ok:'), 'IPv6', r.stdout)
    with open('/proc/%d/status' % any_.p.pid) as f:
        st = f.read()
    ok(re.search(r'CapPrm:\s0+\n', st) and 'NoNewPrivs:\t1' in st and
       (os.getuid() or not re.search(r'Uid:\t.*\b0\b', st)), 'no privilege is left')
    any_.stop()


def draining():
    h = Health('--drain', '1h')
    h.p.send_signal(signal.SIGTERM)
    expect(h, 503, r'^draining: leaves in 3(600|59\d) s$', 'SIGTERM: draining')
    h.p.send_signal(signal.SIGTERM)
    ok(h.p.wait(WAIT) == 0, 'a second one leaves at once, status 0')
    h = Health('--drain', '1s')
    start = time.monotonic()
    h.p.send_signal(signal.SIGTERM)
    ok(h.p.wait(WAIT) == 0 and time.monotonic() - start >= 0.9, 'leaves after --drain')


def proxy(h, run):
    """gwproxy is on no way of packets, but flows are handed to it"""
    def start():
        return spawn([BIN + '/gwproxy', '-q', '--tun', tmp + '/none.sock'], stderr=subprocess.DEVNULL)

    def page():
        return [s for s in json.loads(h.get('/status.json', h.admin)[1])['stages'] if s['stage'] == 'gwproxy']
    p = start()
    limit = time.monotonic() + 3
    while not page() and time.monotonic() < limit:
        time.sleep(0.1)
    ok(page() and page()[0]['ok'] and page()[0]['pid'] == p.pid, 'gwproxy has a page', page())
    rows = [r['name'] for r in page()[0]['rules']]
    ok('opened' in rows and 'TLS-intercepted' in rows, 'with a row for each of its counters', rows)
    os.kill(p.pid, signal.SIGSTOP)
    expect(h, 503, r'^gwproxy does not move \(heartbeat [23]\.\d s old\)$', 'gwproxy stopped', 3)
    os.kill(p.pid, signal.SIGCONT)
    expect(h, 200, '', 'and goes on')
    end(p)
    expect(h, 503, '^gwproxy died ', 'gwproxy killed', 3)
    p = start()
    expect(h, 200, '', 'and is back')
    end(p, signal.SIGTERM)
    ok(not os.path.exists(run + '/gwproxy'), 'its page goes when it ends in order')
    expect(h, 200, '', 'which the chain does without')


def ways(h):
    """At both ends is something that takes no ring"""
    want = {name: ('ring', 'ring') for name in ('gwdecap', 'gwfilter:censor', 'gwtee')}
    want.update(gwcap=('stream', 'ring'), gwinject=('ring', 'stream'))
    limit = time.monotonic() + WAIT
    got = None
    while got != want and time.monotonic() < limit:
        got = {s['stage']: (s['in_way'], s['out_way'])
               for s in json.loads(h.get('/status.json', h.admin)[1])['stages']}
        time.sleep(0.1)
    ok(got == want, 'JSON tells which way packets go', got)


def real_chain():
    """Kill and stop each stage of a chain over ipc; packets keep coming from a generator."""
    run = tmp + '/real'
    os.mkdir(run)
    os.chmod(run, 0o755)
    if not os.getuid():
        os.chown(run, pwd.getpwnam('nobody').pw_uid, 0)
    os.environ['GW_RUN'] = run
    gen = spawn([TESTS + '/h_gen', '1000000', '100', '8', '500'], stdout=subprocess.PIPE)
    cmd = {
        'gwdecap': ['-i', 'ipc://a', '-o', 'ipc://b'],
        'gwfilter:censor': ['--as', 'censor', '-e', 'drop where udp port 99', '-i', 'ipc://b',
                            '-o', 'ipc://c'],
        'gwtee': ['-i', 'ipc://c', '-o', 'ipc://d', '-w', '/dev/null'],
        'gwinject': ['-i', 'ipc://d', '-o', '/dev/null'],
    }

    def start(name):
        return spawn([BIN + '/' + name.split(':')[0], '-q'] + cmd[name],
                     stderr=subprocess.DEVNULL)
    cap = spawn([BIN + '/gwcap', '-q', '-i', '-', '-o', 'ipc://a'], stdin=gen.stdout,
                stderr=subprocess.DEVNULL)
    stage = {name: start(name) for name in cmd}
    h = Health()
    expect(h, 200, '^ok: gwcap gwdecap gwfilter:censor gwtee gwinject$', 'a real chain')
    ways(h)
    for name in cmd:
        os.kill(stage[name].pid, signal.SIGSTOP)
        expect(h, 503, '^%s does not move [^;]*$' % name, name + ' stopped, named alone', 3)
        os.kill(stage[name].pid, signal.SIGCONT)
        expect(h, 200, '', 'goes on')
        end(stage[name])
        expect(h, 503, '^%s died [^;]*$' % name, name + ' killed, named alone', 3)
        stage[name] = start(name)
        expect(h, 200, '', 'back')
    proxy(h, run)
    end(cap)
    expect(h, 503, '^gwcap died', 'gwcap killed', 3)
    h.stop()
    for p in list(stage.values()) + [gen]:
        end(p)


def beside(test):
    """Run a test in a process of its own: mostly, both wait.  Returns who gives its results"""
    log = tmp + '/beside'
    pid = os.fork()
    if not pid:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
        try:
            test()
        finally:
            for c in children:
                end(c)
            os._exit(0 if sys.exc_info()[0] is None else 1)

    def results():
        ok(os.waitpid(pid, 0)[1] == 0, 'the test beside went to its end')
        with open(log) as f:
            for line in f:
                m = re.match(r'(not )?ok \d+ - (.*)', line)
                if m:
                    ok(not m[1], m[2])
                else:
                    print(line, end='')
    return results


def main():
    real = beside(real_chain)
    h = Health()
    simple_answers(h)
    stages = list(by_itself(h))
    stopped_and_killed(h, stages)
    moving(h, stages)
    leftovers(h, stages)
    idle_restart(h, stages)
    metrics(h, stages)
    half_open(h)
    https()
    listening(h)
    draining()
    h.stop()
    for s in stages:
        s.stop()
    real()
    print('1..%d' % count)
    return failed > 0


try:
    status = main()
finally:
    for c in children:
        end(c)
    shutil.rmtree(tmp, ignore_errors=True)
sys.exit(status)
