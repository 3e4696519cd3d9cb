# The zone first: what the table guards must not be open for a moment.
uci -q delete firewall.logknock_tcp
uci -q delete firewall.logknock_udp
uci commit firewall
file={file}
rm -f "$1$file"
[ ! -f "$1/etc/sysupgrade.conf" ] || sed -i "\\|^$file\$|d" "$1/etc/sysupgrade.conf"
fw4 reload
