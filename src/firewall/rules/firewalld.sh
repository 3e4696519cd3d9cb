# What the table guards, firewalld lets in: for good, and now.
firewall-cmd --permanent --get-services | tr ' ' '\n' | grep -qx logknock ||
    firewall-cmd --quiet --permanent --new-service=logknock
for port in $(firewall-cmd --permanent --service=logknock --get-ports); do
    firewall-cmd --quiet --permanent --service=logknock --remove-port=$port
done
