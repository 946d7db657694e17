#!/usr/bin/env python3
"""What `faultmap capture` says of real servers and clients: nginx, Squid, tinyproxy, microsocks, Redis, mosquitto, OpenSSH, curl, psql, websockets and gRPC.

Builds two network namespaces of its own with a pair of cables between them, records every case with tcpdump, and compares the verdict with what was done. Healthy
cases must give no finding. Needs root and these packages of Debian:
  nginx squid tinyproxy microsocks redis-server mosquitto mosquitto-clients openssh-server postgresql-client curl tcpdump openssl
  python3-websockets python3-grpcio
Usage: capture-real-software.py target/debug/faultmap [CASE ...]
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SERVER, CLIENT = "10.77.0.2", "10.77.0.1"
THERE, HERE = "faultmap-there", "faultmap-here"

NGINX = """
worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{
    listen 80;
    location / {{ return 200 "hello\\n"; }}
    location /small {{ return 204; }}
    location /loop {{ return 302 /loop; }}
    location /err {{ return 503; }}
    location /private {{ auth_basic x; auth_basic_user_file {dir}/users; root {dir}; try_files /hosts =404; }}
    location /generate_204 {{ return 302 http://login.hotel/; }}
  }}
  server {{
    listen 443 ssl http2; server_name shop.test; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    location / {{ return 200 "hello\\n"; }}
    location /small {{ return 204; }}
  }}
  server {{ listen 8443 ssl default_server; ssl_reject_handshake on; }}
  server {{ listen 8443 ssl; server_name shop.test; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; location / {{ return 200 "hello\\n"; }} }}
}}
"""

SQUID = """
http_port {port}
acl SSL_ports port 443
acl CONNECT method CONNECT
http_access deny CONNECT !SSL_ports
{login}
cache deny all
access_log none
cache_log {dir}/squid/{port}.log
pid_filename {dir}/squid/{port}.pid
coredump_dir {dir}/squid
dns_nameservers 127.0.0.1
dns_timeout 2 seconds
hosts_file {dir}/hosts
"""
LOGIN = """auth_param basic program /usr/lib/squid/basic_ncsa_auth {dir}/users
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all"""

TINYPROXY = 'Port 8888\nListen {server}\nTimeout 600\nPidFile "{dir}/tiny.pid"\nLogFile "{dir}/tiny.log"\nMaxClients 50\nAllow 10.77.0.0/24\n'
MOSQUITTO = "user root\nlistener 1883\nallow_anonymous true\nlistener 8883\ncertfile {dir}/cert.pem\nkeyfile {dir}/key.pem\n"

# Servers that do one thing wrong, or one small thing right.
ODD = r'''
import asyncio, socket, ssl, threading, time
from concurrent import futures
import grpc, websockets
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); tls.load_cert_chain("cert.pem", "key.pem")
HEAD = b"HTTP/1.1 204 No Content\r\nDate: Sat, 21 Nov 2026 15:00:00 GMT\r\nServer: small/1.0\r\nX-Request-Id: 0123456789012345\r\n"
def serve(port, answer, secure=False):
    listener = socket.create_server(("0.0.0.0", port))
    def one(peer):
        try:
            peer = tls.wrap_socket(peer, server_side=True) if secure else peer
            answer(peer)
        except OSError:
            pass
        peer.close()
    def loop():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
def say(words, stay=0):
    def answer(peer):
        peer.recv(4096); peer.sendall(words); time.sleep(stay)
    return answer
def small(peer):
    while peer.recv(4096): peer.sendall(HEAD + b"\r\n")
def slow(peer):
    peer.recv(4096); time.sleep(3); peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + b"x" * 600)
def mute_socks(peer):
    peer.recv(10); peer.sendall(b"\x05\x00"); peer.recv(400); time.sleep(30)
serve(9444, say(b""), True); serve(9445, slow, True); serve(9446, small, True); serve(9447, say(HEAD + b"Connection: close\r\n\r\n"), True)
serve(9448, say(b"", 30), True); serve(9080, say(bytes(range(1, 200)))); serve(1082, mute_socks); serve(8889, say(b"", 30))
serve(9081, say(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", 1))
serve(9082, say(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
async def chat(peer):
    if peer.request.path == "/deny": return await peer.close(1008, "token expired")
    async for message in peer: await peer.send(message)
class Cart(grpc.GenericRpcHandler):
    def service(self, call):
        def watch(request, context):
            time.sleep(20); yield b""
        return grpc.unary_stream_rpc_method_handler(watch) if call.method.endswith("Watch") else grpc.unary_unary_rpc_method_handler(lambda r, c: b"ok")
server = grpc.server(futures.ThreadPoolExecutor(8)); server.add_generic_rpc_handlers((Cart(),))
server.add_secure_port("0.0.0.0:9500", grpc.ssl_server_credentials([(open("key.pem", "rb").read(), open("cert.pem", "rb").read())])); server.start()
async def main():
    async with websockets.serve(chat, "0.0.0.0", 9090): await asyncio.Future()
asyncio.run(main())
'''

WEBSOCKET = r'''
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], open_timeout=4) as peer:
        await peer.send("hi"); await asyncio.wait_for(peer.recv(), 3)
asyncio.run(main())
'''

GRPC = r'''
import grpc, sys, time
def channel(): return grpc.secure_channel("10.77.0.2:9500", grpc.ssl_channel_credentials(open("cert.pem", "rb").read()), [("grpc.use_local_subchannel_pool", 1)])
if sys.argv[1] == "watch":
    calls = [channel().unary_stream("/shop.Cart/Watch")(b"") for _ in range(2)]
    time.sleep(8); [call.cancel() for call in calls]
else:
    one = channel()
    for _ in range(5): one.unary_unary("/shop.Cart/Get")(b"a")
    time.sleep(6)
'''

CURL = "curl -s -o /dev/null -m 12 "
SHOP = "--resolve shop.test:443:10.77.0.2 --resolve shop.test:8443:10.77.0.2 https://shop.test"
S = SERVER
PROXY = ["l5.proxy-refused", "l5.proxy-unreachable"]
# Name, what the client does, and the causes that may be named; none if all is well.
CASES = [
    ("squid", [CURL + f"-x {S}:3128 http://shop.test/", CURL + f"-k -x {S}:3128 https://shop.test/"], []),
    ("squid-forbids", [CURL + f"-x {S}:3128 https://shop.test:8443/"], PROXY[:1]),
    ("squid-no-name", [CURL + f"-x {S}:3128 https://nosuch.test/"], PROXY[:1]),
    ("squid-no-name-plain", [CURL + f"-x {S}:3128 http://nosuch.test/"], PROXY[:1]),
    ("squid-passes-503-on", [CURL + f"-x {S}:3128 http://shop.test/err"], ["l7.http-unavailable"]),
    ("squid-no-login", [CURL + f"-x {S}:3129 https://shop.test/"], PROXY[:1]),
    ("squid-wrong-login", [CURL + f"-x joe:no@{S}:3129 http://shop.test/"], PROXY[:1]),
    ("squid-login-at-second-try", [CURL + f"-x joe:secret@{S}:3129 --proxy-anyauth http://shop.test/"], []),
    ("tinyproxy", [CURL + f"-x {S}:8888 http://{S}/"], []),
    ("tinyproxy-no-way", [CURL + f"-x {S}:8888 https://{S}:4444/"], PROXY[:1]),
    ("mute-proxy", [CURL + f"-m 7 -x {S}:8889 https://shop.test/"], PROXY),
    ("socks", [CURL + f"-k --socks5-hostname {S}:1080 https://{S}/", CURL + f"--socks5 {S}:1080 http://{S}/small"], []),
    ("socks-login", [CURL + f"--socks5-hostname joe:secret@{S}:1081 http://{S}/"], []),
    ("socks-no-way", [CURL + f"--socks5-hostname {S}:1080 http://{S}:4444/"], PROXY[:1]),
    ("socks-no-login", [CURL + f"--socks5-hostname {S}:1081 http://{S}/"], PROXY[:1]),
    ("socks-wrong-login", [CURL + f"--socks5-hostname joe:no@{S}:1081 http://{S}/"], PROXY[:1]),
    ("socks-mute", [CURL + f"-m 7 --socks5-hostname {S}:1082 http://{S}/"], PROXY),
    ("name-refused", [CURL + "-k --resolve other.test:8443:10.77.0.2 https://other.test:8443/", CURL + f"-k {SHOP}:8443/"], ["l6.sni-rejected"]),
    ("redis", [f"redis-cli -h {S} set a b", f"redis-cli -h {S} -p 6380 --tls --insecure get a"], []),
    ("redis-to-http", [f"timeout 3 redis-cli -h {S} -p 80 ping"], ["l7.protocol-mismatch"]),
    # Redis resets such a connection without a word.
    ("redis-to-tls", [f"timeout 3 redis-cli -h {S} -p 6380 ping"], ["l5.closed-without-answer", "l6.tls-on-plaintext-port"]),
    ("mqtt", [f"mosquitto_pub -h {S} -t a -m b", f"mosquitto_pub -h {S} -p 8883 --cafile cert.pem --insecure -t a -m b"], []),
    ("mqtt-to-http", [f"timeout 4 mosquitto_pub -h {S} -p 80 -t a -m b"], ["l7.protocol-mismatch"]),
    ("postgres-to-http", [f"timeout 4 psql -h {S} -p 80 -U x -c ''"], ["l7.protocol-mismatch"]),
    ("ssh-to-http", [f"timeout 4 ssh -o BatchMode=yes -o StrictHostKeyChecking=no -p 80 x@{S} true"], ["l7.protocol-mismatch"]),
    ("ssh", [f"timeout 4 ssh -o BatchMode=yes -o StrictHostKeyChecking=no x@{S} true"], []),
    ("http-to-ssh", [CURL + f"http://{S}:22/"], ["l7.protocol-mismatch"]),
    ("https-to-ssh", [CURL + f"https://{S}:22/"], ["l6.plaintext-on-tls-port"]),
    ("http-to-https", [CURL + f"http://{S}:443/"], ["l6.tls-on-plaintext-port"]),
    ("https-to-http", [CURL + f"https://{S}:80/"], ["l6.plaintext-on-tls-port"]),
    ("no-http-at-all", [CURL + f"http://{S}:9080/"], ["l7.http-malformed"]),
    ("redirects-on-and-on", [CURL + f"-L --max-redirs 12 http://{S}:9082/"], ["l7.http-redirect-loop"]),
    ("redirects-in-a-circle", [CURL + f"-L --max-redirs 12 http://{S}/loop"], ["l7.http-redirect-loop"]),
    ("login-not-brought", [CURL + f"http://{S}/private"], ["l7.http-unauthorized"]),
    ("login-at-second-try", [CURL + f"--anyauth -u joe:secret http://{S}/private"], []),
    ("portal", [CURL + f"--resolve connectivitycheck.gstatic.com:80:{S} http://connectivitycheck.gstatic.com/generate_204"], ["l7.captive-portal"]),
    ("websocket", [f"python3 websocket.py ws://{S}:9090/"], []),
    ("websocket-closed", [f"python3 websocket.py ws://{S}:9090/deny"], ["l7.websocket-refused"]),
    ("websocket-wrong-accept", [f"python3 websocket.py ws://{S}:9081/"], ["l7.websocket-refused"]),
    ("websocket-gets-a-page", [f"python3 websocket.py ws://{S}:80/"], ["l7.websocket-refused"]),
    ("certificate-refused", [CURL + f"{SHOP}/"], ["l6.cert-self-signed", "l6.cert-untrusted-ca"]),
    ("certificate-refused-1.3", [CURL + f"https://{S}:9446/"] * 2, ["l6.cert-untrusted-ca"]),
    ("h2", [CURL + f"-k {SHOP}/"] * 3, []),
    ("h2-small", [CURL + f"-k {SHOP}/small"] * 3, []),
    ("h1-small", [CURL + f"-k --http1.1 {SHOP}/small"] * 3, []),
    ("1.2-small", [CURL + f"-k --tls-max 1.2 {SHOP}/small"] * 3, []),
    ("tiny-answer", [CURL + f"-k https://{S}:9446/"] * 3, []),
    ("tiny-answer-and-close", [CURL + f"-k https://{S}:9447/"] * 3, []),
    ("opened-in-advance", [f"sh -c 'sleep 6 | timeout 8 openssl s_client -connect {S}:443 -servername shop.test -alpn h2 -quiet'"] * 2, []),
    ("grpc", ["python3 rpc.py get"], []),
    ("grpc-waits-for-events", ["python3 rpc.py watch"], []),
    ("mute", [CURL + f"-m 6 -k https://{S}:9448/"] * 2, ["l7.service-mute"]),
    ("mute-1.2", [CURL + f"-m 6 -k --tls-max 1.2 https://{S}:9448/"] * 2, ["l7.service-mute"]),
    ("closes", [CURL + f"-k https://{S}:9444/"] * 3, ["l5.closed-without-answer"]),
    ("closes-1.2", [CURL + f"-k --tls-max 1.2 https://{S}:9444/"] * 3, ["l5.closed-without-answer"]),
    ("slow", [CURL + f"-k https://{S}:9445/"] * 2, ["l7.service-slow"]),
]


def run(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def start(folder, command, started):
    null = subprocess.DEVNULL
    started.append(subprocess.Popen(f"exec ip netns exec {THERE} {command}", shell=True, cwd=folder, stdin=null, stdout=null, stderr=null))


def build(folder, started):
    for name in (THERE, HERE):
        run(f"ip netns add {name} && ip -n {name} link set lo up")
    run(f"ip link add fm0 netns {THERE} type veth peer name fm0 netns {HERE}")
    for name, address in ((THERE, SERVER), (HERE, CLIENT)):
        run(f"ip -n {name} addr add {address}/24 dev fm0 && ip -n {name} link set fm0 up")
    os.chmod(folder, 0o755)
    os.mkdir(os.path.join(folder, "squid"))
    shutil.chown(os.path.join(folder, "squid"), "proxy")
    subject = f'-subj /CN=shop.test -addext "subjectAltName=DNS:shop.test,IP:{SERVER}"'
    run(f"cd {folder} && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 {subject} 2>/dev/null")
    run(f"cd {folder} && echo joe:$(openssl passwd -apr1 secret) > users && echo {SERVER} shop.test > hosts")
    for name, text in (("websocket.py", WEBSOCKET), ("rpc.py", GRPC), ("odd.py", ODD)):
        write(folder, name, text)
    write(folder, "nginx.conf", NGINX.format(dir=folder))
    write(folder, "tiny.conf", TINYPROXY.format(dir=folder, server=SERVER))
    write(folder, "mosquitto.conf", MOSQUITTO.format(dir=folder))
    for port, login in ((3128, "http_access allow all"), (3129, LOGIN.format(dir=folder))):
        write(folder, f"squid{port}.conf", SQUID.format(dir=folder, port=port, login=login))
        start(folder, f"squid -N -n faultmap{port} -f {folder}/squid{port}.conf", started)
    os.makedirs("/run/sshd", exist_ok=True)
    start(folder, f"nginx -g 'daemon off;' -c {folder}/nginx.conf", started)
    start(folder, "tinyproxy -d -c tiny.conf", started)
    start(folder, f"microsocks -i {SERVER} -p 1080", started)
    start(folder, f"microsocks -i {SERVER} -p 1081 -u joe -P secret", started)
    redis = "redis-server --bind 0.0.0.0 --protected-mode no --save ''"
    start(folder, f"{redis} --port 6379", started)
    start(folder, f"{redis} --port 0 --tls-port 6380 --tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file cert.pem --tls-auth-clients no", started)
    start(folder, "mosquitto -c mosquitto.conf", started)
    start(folder, "/usr/sbin/sshd -D", started)
    start(folder, "python3 odd.py", started)
    time.sleep(5)


def case(program, folder, name, commands, expect):
    file = os.path.join(folder, name + ".pcap")
    tcpdump = f"exec ip netns exec {HERE} tcpdump -i fm0 --immediate-mode -U -w {file} tcp"
    recorder = subprocess.Popen(tcpdump, shell=True, stderr=subprocess.DEVNULL)
    time.sleep(1)
    for command in commands:
        null = subprocess.DEVNULL
        subprocess.run(f"ip netns exec {HERE} {command}", shell=True, cwd=folder, stdout=null, stderr=null, check=False)
    time.sleep(1)
    recorder.terminate()
    recorder.wait()
    verdict = json.loads(subprocess.run([program, "capture", file, "--json"], capture_output=True, check=False).stdout)["verdict"]
    right = verdict["cause"] in expect if expect else verdict["status"] == "healthy"
    print("ok   " if right else "WRONG", name, verdict["status"], verdict["cause"] or "", "|", verdict["summary"][:150], flush=True)
    return right


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    started, wrong = [], 0
    folder = tempfile.mkdtemp(prefix="faultmap-real-")
    try:
        build(folder, started)
        chosen = [row for row in CASES if not wanted or row[0] in wanted]
        wrong = sum(not case(program, folder, *row) for row in chosen)
        print(f"{len(chosen) - wrong} of {len(chosen)} right")
    finally:
        for server in started:
            server.send_signal(signal.SIGTERM)
        for server in started:
            server.wait()
        for name in (THERE, HERE):
            subprocess.run(["ip", "netns", "del", name], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
