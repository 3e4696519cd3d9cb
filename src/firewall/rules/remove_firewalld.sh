for port in $(firewall-cmd --permanent --service=logknock --get-ports 2>/dev/null); do
    firewall-cmd --quiet --permanent --query-port=$port || firewall-cmd --quiet --remove-port=$port
done
if firewall-cmd --permanent --get-services | tr ' ' '\n' | grep -qx logknock; then
    firewall-cmd --quiet --permanent --remove-service=logknock
    firewall-cmd --quiet --permanent --delete-service=logknock
    firewall-cmd --quiet --remove-service=logknock 2>/dev/null
fi
